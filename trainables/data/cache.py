"""The cache: downloads and decoded images, written whole or not at all."""

import hashlib
import math
import os
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import platformdirs
import psutil
from filelock import FileLock
from numpy.typing import NDArray

from trainables.atomic_write import atomic_write
from trainables.errors import UsageError

CACHE_VARIABLE = "TRANSFORM_TUNER_CACHE"
CONNECT_SEC = 10.0

Arrays = dict[str, NDArray[Any]]


class Form(NamedTuple):
    """What an array is to be."""

    shape: tuple[int, ...]
    kind: type[np.generic] = np.uint8

    @property
    def size_bytes(self) -> int:
        """Bytes that it takes."""
        return math.prod(self.shape) * np.dtype(self.kind).itemsize


New = Callable[[Mapping[str, Form]], Arrays]


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


def filled_once(
    asked: str, key: str, names: Iterable[str], fill: Callable[[New], Arrays]
) -> Arrays:
    """Return arrays that are filled once and then lie in the cache, which they are mapped from.

    What is filled is a file already, so that they may be larger than memory. A cache that can't be
    written is no reason to stop: the arrays are then in memory, and filled each time.

    Args:
        asked: What a sentence about them begins with.
        key: A text that changes whenever their content would.
        names: What they are called.
        fill: Is given what makes empty arrays of the forms asked for, and returns them filled.

    Raises:
        UsageError: Neither the disk nor memory has room for them.
    """
    directory = cache_directory() / "splits" / hashlib.sha256(key.encode()).hexdigest()[:32]
    with suppress(OSError, EOFError, ValueError):  # it is not there, or not whole
        return _mapped(directory, names)
    with ExitStack() as files:
        arrays = fill(partial(_new_arrays, asked, directory, files))
        with suppress(OSError):  # the arrays are there all the same
            files.close()
    with suppress(OSError, EOFError, ValueError):
        return _mapped(directory, names)
    return arrays


def _mapped(directory: Path, names: Iterable[str]) -> Arrays:
    return {name: np.load(directory / f"{name}.npy", mmap_mode="c") for name in names}


def _new_arrays(asked: str, directory: Path, files: ExitStack, forms: Mapping[str, Form]) -> Arrays:
    """Make arrays to fill: files that appear in `directory` with the end of `files`, or memory."""
    try:
        with ExitStack() as begun:
            arrays = {
                name: begun.enter_context(_new_file(directory / f"{name}.npy", form))
                for name, form in forms.items()
            }
            files.push(begun.pop_all())
        return arrays
    except OSError as error:
        needed = sum(form.size_bytes for form in forms.values())
        if needed > psutil.virtual_memory().available:
            raise UsageError(
                f"{asked}: its {needed / 2**30:.1f} GiB of pixels fit neither into the cache "
                f"{cache_directory()} ({error.strerror}) nor into memory: set "
                f"{CACHE_VARIABLE} to a directory with more room, or give smaller images"
            ) from error
        return {name: np.empty(*form) for name, form in forms.items()}


@contextmanager
def _new_file(path: Path, form: Form) -> Iterator[NDArray[Any]]:
    with atomic_write(path, many_writers=True) as aside:
        array = mapped_file(aside, form)
        yield array
        array.flush()


def mapped_file(path: Path, form: Form) -> np.memmap[Any, Any]:
    """Make a file for an array, and return it mapped. Raises OSError where there is no room."""
    array: np.memmap[Any, Any] = np.lib.format.open_memmap(path, "w+", form.kind, form.shape)
    if hasattr(os, "posix_fallocate"):
        # Of a disk that is full by the time that it is written to, the process would die
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return array
