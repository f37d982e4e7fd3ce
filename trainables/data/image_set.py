"""Image sets as uint8 tensors, and `load`, which finds them by what a person typed after `--data`."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from trainables.data import sources
from trainables.errors import UsageError
from trainables.pipelines.study import IMAGE_SHAPE

VALIDATION_SHARE = 0.1
SHUFFLE_SEED = 0  # which images validate is part of the data, not of a search


@dataclass(frozen=True)
class ImageSet:
    """(N, 3, 32, 32) uint8 with the name of its source and its split."""

    name: str
    split: str
    images: Tensor

    def __post_init__(self) -> None:
        if self.images.dtype != torch.uint8 or tuple(self.images.shape[1:]) != IMAGE_SHAPE:
            raise ValueError(
                f"an image set is (N, 3, 32, 32) uint8, but {self.name} {self.split} is "
                f"{tuple(self.images.shape)} {self.images.dtype}"
            )

    def __len__(self) -> int:
        return len(self.images)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the pixels."""
        return hashlib.sha256(self.images.contiguous().numpy().data).hexdigest()

    def first(self, count: int) -> "ImageSet":
        """The first `count` images, which are a fair sample since every source is shuffled once."""
        if not 1 <= count <= len(self):
            raise UsageError(
                f"{count:,} images were asked for, but the {self.split} split of {self.name} has "
                f"{len(self):,}: give --images between 1 and {len(self):,}"
            )
        return ImageSet(self.name, self.split, self.images[:count])


@dataclass(frozen=True)
class Splits:
    """What trials train on, what they are stopped and ranked by, and what only finalists see."""

    train: ImageSet
    validation: ImageSet
    test: ImageSet
    note: str = ""
    """Why this source was taken, where the person left the choice open."""


def split(name: str, train: Tensor, test: Tensor) -> Splits:
    """Shuffle the training images once and set a fixed tenth of them aside for validation."""
    generator = torch.Generator().manual_seed(SHUFFLE_SEED)
    shuffled = train[torch.randperm(len(train), generator=generator)]
    held_out = max(1, round(len(train) * VALIDATION_SHARE))
    if len(train) <= held_out:
        raise UsageError(f"{name} has {len(train)} training images: give at least 2")
    return Splits(
        train=ImageSet(name, "train", shuffled[held_out:]),
        validation=ImageSet(name, "validation", shuffled[:held_out]),
        test=ImageSet(name, "test", test),
    )


def load(source: str) -> Splits:
    """Load `cifar10`, `photos`, `auto`, or a directory of parquet or image files.

    Raises UsageError with one sentence when there is no such source, or nothing to read in it.
    """
    from trainables.data import cifar10, folders, photos

    sources.check(source)
    if source == "photos":
        return photos.load()
    if source == "cifar10":
        try:
            return split("cifar10", *cifar10.load())
        except OSError as error:
            raise UsageError(
                f"--data cifar10: {_first_line(error)}; give --data photos, or a directory with images"
            ) from error
    if source == "auto":
        return _load_whatever_is_there()
    directory = Path(source)
    return split(str(directory), *folders.load(directory))


def _load_whatever_is_there() -> Splits:
    from dataclasses import replace

    from trainables.data import cifar10, photos

    try:
        return split("cifar10", *cifar10.load())
    except OSError as error:
        note = f"CIFAR-10 is not in the cache and could not be fetched ({_first_line(error)})"
        return replace(photos.load(), note=note)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
