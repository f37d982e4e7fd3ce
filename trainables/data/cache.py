"""The cache: downloads and decoded images, written whole or not at all."""

import hashlib
import os
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import platformdirs
from filelock import FileLock

from trainables.atomic_write import atomic_write
from trainables.data.images import Images, Pixels

CACHE_VARIABLE = "TRANSFORM_TUNER_CACHE"
CONNECT_SEC = 10.0


def cache_directory() -> Path:
    """Return the directory for downloads, decoded images and copies of buckets.

    It is $TRANSFORM_TUNER_CACHE, or the platform's own place for such things.
    """
    return Path(os.environ.get(CACHE_VARIABLE) or platformdirs.user_cache_dir("transform-tuner"))


@contextmanager
def new_directory(target: Path) -> Iterator[Path | None]:
    """Yield a directory to fill beside `target`, whose place it takes when the block ends.

    Of several processes one does the work: the others wait, and get None. Connections are given up
    after CONNECT_SEC meanwhile: some networks swallow packets for minutes.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(target.with_name(target.name + ".lock")):
        if target.is_dir():
            yield None
            return
        before = socket.getdefaulttimeout()
        aside = Path(tempfile.mkdtemp(dir=target.parent, prefix=target.name + ".part-"))
        try:
            socket.setdefaulttimeout(CONNECT_SEC)
            yield aside
            aside.replace(target)
        finally:
            socket.setdefaulttimeout(before)
            shutil.rmtree(aside, ignore_errors=True)


def decoded_once(source: str, key: str, decode: Callable[[], Mapping[str, Pixels]]) -> Images:
    """Return the images of a source, decoded once and then read back.

    A cache that can't be written is no reason to stop: the images are then decoded each time.

    Args:
        source: What the source is called.
        key: A text that changes whenever its files do, or how they are decoded.
        decode: Makes the images of each split.
    """
    directory = cache_directory() / "splits" / hashlib.sha256(key.encode()).hexdigest()[:32]
    with suppress(OSError, EOFError, ValueError, TypeError):  # it is not there, or not whole
        files = directory.glob("[!.]*.npy")
        return Images(source=source, note="", **{f.stem: np.load(f, mmap_mode="c") for f in files})
    splits = decode()
    with suppress(OSError):
        # Validation first: without it the others would be taken for the whole
        for split in sorted(splits, reverse=True):
            with atomic_write(directory / f"{split}.npy", many_writers=True) as aside:
                np.save(aside, splits[split])
    return Images(source=source, note="", **splits)
