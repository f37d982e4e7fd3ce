"""CIFAR-10 from torchvision, fetched once into the cache: lock, look again, verify, rename last."""

import pickle
import tarfile
from http.client import HTTPException
from pathlib import Path

import numpy as np

from trainables.data.cache import cache_directory, decoded_once, new_directory
from trainables.data.images import Images, Pixels


def load() -> Images:
    """Return training (50,000, 3, 32, 32) and test (10,000, 3, 32, 32) images, uint8.

    They are fetched on first use. Raises OSError when they are neither in the cache nor to be had.
    """
    root = cache_directory() / "cifar10"
    if not root.is_dir():
        _fetch(root)
    return decoded_once(
        "cifar10",
        f"cifar10 {root.stat().st_mtime_ns}",
        lambda: {"train": _read(root, train=True), "test": _read(root, train=False)},
    )


def _fetch(root: Path) -> None:
    from torchvision.datasets import CIFAR10  # 2.5 s, and only for the first use

    with new_directory(root) as aside:
        try:
            if aside is not None:
                CIFAR10(str(aside), download=True)  # shows progress, checks the archive's MD5
        except (RuntimeError, HTTPException, tarfile.TarError, EOFError) as error:
            raise OSError(f"CIFAR-10 could not be fetched: {error}") from error


def _read(root: Path, *, train: bool) -> Pixels:
    from torchvision.datasets import CIFAR10

    try:
        pixels = CIFAR10(str(root), train=train).data  # checks the MD5 of every file
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise OSError(
            f"CIFAR-10 in {root} is damaged: delete that directory to fetch it again"
        ) from error
    return np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))
