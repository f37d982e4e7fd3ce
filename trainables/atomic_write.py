"""Files that appear whole or not at all: written aside, flushed to the disk, renamed last."""

import filecmp
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path

import psutil

LEFT_FOR_SEC = 3600.0  # without a write: a writer on another machine, whose number says nothing


@contextmanager
def atomic_write(
    path: Path, *, many_writers: bool = False, keep_same: bool = False
) -> Iterator[Path]:
    """Yield a path beside `path` to write to; it takes the place of `path` when the block ends.

    Whoever reads `path` meanwhile sees the old file or the new one. When the block raises, `path`
    is untouched and nothing is left beside it. A process that is killed leaves the file that it was
    writing; the next writer of `path` writes over that.

    Args:
        path: The file to write. Directories above it are made.
        many_writers: Whether other processes may write the same file now. Each then writes to a
            file of its own, and the last to finish is read; what killed ones left is deleted an
            hour later.
        keep_same: Leave `path` as it is, with its time, where the new file has the same bytes.

    Raises:
        OSError: The disk is full or read-only, or the directory can't be made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if many_writers:
        _delete_left(path)
    writer = f"{os.getpid()}." if many_writers else ""
    # The ending stays in place: torch.export.save looks at it
    aside = path.with_name(f".{path.stem}.{writer}part{path.suffix}")
    try:
        yield aside
        if keep_same and path.exists() and filecmp.cmp(aside, path, shallow=False):
            return
        with aside.open("rb") as file:
            os.fsync(file.fileno())
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def _delete_left(path: Path) -> None:
    """Delete what writers of a file left that were killed: of each, its number is in the name."""
    for left in path.parent.glob(f".{escape(path.stem)}.*.part{escape(path.suffix)}"):
        number = left.name.removeprefix(f".{path.stem}.").removesuffix(f".part{path.suffix}")
        if number.isdecimal() and not psutil.pid_exists(int(number)):
            with suppress(FileNotFoundError):  # its writer has just finished
                if time.time() - left.stat().st_mtime > LEFT_FOR_SEC:
                    left.unlink()
