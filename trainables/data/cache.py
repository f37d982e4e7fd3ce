"""The cache directory: decoded image sets, written whole or not at all, by one process at a time."""

import hashlib
import os
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from trainables.data.cache_dir import cache_directory

CONNECT_SEC = 10.0

Decoded = tuple[Tensor, Tensor]


@contextmanager
def new_directory(target: Path) -> Iterator[Path | None]:
    """Fill a directory aside and rename it to `target` last; yields None when another process was first.

    Looks again after taking the lock, so that of several processes one does the work.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(target.with_name(target.name + ".lock")):
        if target.is_dir():
            yield None
            return
        aside = Path(tempfile.mkdtemp(dir=target.parent, prefix=target.name + ".part-"))
        try:
            yield aside
            aside.replace(target)
        finally:
            shutil.rmtree(aside, ignore_errors=True)


@contextmanager
def connect_timeout() -> Iterator[None]:
    """A network that swallows packets must not hold a search up for minutes."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(CONNECT_SEC)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def decoded_once(source: str, decode: Callable[[], Decoded]) -> Decoded:
    """The (train, test) tensors of a source, decoded on the first call and read back on later ones.

    `source` is a text that changes whenever the source's files do. A cache that can't be written is no
    reason to stop: the images are then decoded each time.
    """
    path = (
        cache_directory()
        / "decoded"
        / f"{hashlib.sha256(source.encode()).hexdigest()[:32]}.safetensors"
    )
    try:
        tensors = load_file(path)
        return tensors["train"], tensors["test"]
    except (OSError, SafetensorError, KeyError):
        train, test = decode()
    with suppress(OSError, SafetensorError):
        _write_whole(path, train, test)
    return train, test


def _write_whole(path: Path, train: Tensor, test: Tensor) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        save_file({"train": train.contiguous(), "test": test.contiguous()}, aside)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
