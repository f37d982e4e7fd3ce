"""The cache: downloads and decoded images, written whole or not at all.

Without PyTorch until images are read, since its import takes 2 s.
"""

import hashlib
import os
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs
from filelock import FileLock
from safetensors import SafetensorError

from trainables.atomic_write import atomic_write

if TYPE_CHECKING:
    from torch import Tensor

CACHE_VARIABLE = "TRANSFORM_TUNER_CACHE"
CONNECT_SEC = 10.0

Decoded = tuple["Tensor", "Tensor"]


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


def decoded_once(source: str, decode: Callable[[], Decoded]) -> Decoded:
    """Return the (train, test) images of a source, decoded once and then read back.

    A cache that can't be written is no reason to stop: the images are then decoded each time.

    Args:
        source: A text that changes whenever the source's files do.
        decode: Makes the images, each (N, 3, 32, 32) uint8.
    """
    from safetensors.torch import load_file, save_file  # here, since it imports PyTorch

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
