"""CIFAR-10 from torchvision, fetched once into the cache: lock, look again, verify, rename last."""

import pickle
import tarfile
from functools import partial
from http.client import HTTPException
from pathlib import Path

import numpy as np
from PIL import Image

from trainables.data.cache import Arrays, Form, New, cache_directory, filled_once, new_directory
from trainables.data.decoding import decode_all
from trainables.data.images import SIZE, Images, Pixels, Size
from trainables.data.pixels import fitted
from trainables.own_process import Say

NAME = "cifar10"


def load(size: Size = SIZE, progress: Say | None = None) -> Images:
    """Return training (50,000, 3, H, W) and test (10,000, 3, H, W) images, uint8.

    They are fetched on first use. Raises OSError when they are neither in the cache nor to be had.

    Args:
        size: What they are scaled to: as they are, of 32 × 32, or each by Pillow.
        progress: Gets lines of what is left while they are.
    """
    root = cache_directory() / "cifar10"
    if not root.is_dir():
        _fetch(root)

    def fill(new: New) -> Arrays:
        read = {"train": _read(root, train=True), "test": _read(root, train=False)}
        arrays = new({split: Form((len(part), 3, *size)) for split, part in read.items()})
        for split, part in read.items():
            _fill(arrays[split], part, progress)
        return arrays

    key = f"{NAME} {root.stat().st_mtime_ns} {size}"
    arrays = filled_once(f"--data {NAME}", key, ("train", "test"), fill)
    return Images(source=NAME, note="", **arrays)


def _fill(scaled: Pixels, images: Pixels, progress: Say | None) -> None:
    """Fill (N, 3, H, W) with images (N, 32, 32, 3), scaled where they are of another size."""
    size = scaled.shape[2:]
    if size == images.shape[1:3]:
        scaled[:] = images.transpose(0, 3, 1, 2)
        return

    def one(number: int) -> Pixels:
        return np.asarray(fitted(Image.fromarray(images[number]), size))

    jobs = ((number, "", partial(one, number)) for number in range(len(images)))
    for number, pixels in decode_all(f"--data {NAME}", jobs, len(images), progress):
        scaled[number] = pixels.transpose(2, 0, 1)


def _fetch(root: Path) -> None:
    from torchvision.datasets import CIFAR10  # 2.5 s, and only for the first use

    with new_directory(root) as aside:
        try:
            if aside is not None:
                CIFAR10(str(aside), download=True)  # shows progress, checks the archive's MD5
        except (RuntimeError, HTTPException, tarfile.TarError, EOFError) as error:
            raise OSError(f"CIFAR-10 could not be fetched: {error}") from error


def _read(root: Path, *, train: bool) -> Pixels:
    """Return a split of it as torchvision reads it: (N, 32, 32, 3) uint8."""
    from torchvision.datasets import CIFAR10

    try:
        pixels = CIFAR10(str(root), train=train).data  # checks the MD5 of every file
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise OSError(
            f"CIFAR-10 in {root} is damaged: delete that directory to fetch it again"
        ) from error
    return np.asarray(pixels)
