"""The cache: downloads and decoded images, written whole or not at all."""

import hashlib
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

from trainables.atomic_write import atomic_write
from trainables.data.cache_dir import cache_directory

CONNECT_SEC = 10.0

Decoded = tuple[Tensor, Tensor]


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


def decoded_once(source: str, decode: Callable[[], Decoded]) -> Decoded:
    """Return the (train, test) images of a source, decoded once and then read back.

    A cache that can't be written is no reason to stop: the images are then decoded each time.

    Args:
        source: A text that changes whenever the source's files do.
        decode: Makes the images, each (N, 3, 32, 32) uint8.
    """
    name = hashlib.sha256(source.encode()).hexdigest()[:32]
    path = cache_directory() / "decoded" / f"{name}.safetensors"
    try:
        tensors = load_file(path)
        return tensors["train"], tensors["test"]
    except (OSError, SafetensorError, KeyError):
        train, test = decode()
    with suppress(OSError, SafetensorError), atomic_write(path, many_writers=True) as aside:
        save_file({"train": train.contiguous(), "test": test.contiguous()}, aside)
    return train, test
