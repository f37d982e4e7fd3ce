"""Images with their targets: the one container in which they go from a source to their users."""

import hashlib
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from trainables.errors import UsageError
from trainables.pipelines.study import IMAGE_SHAPE, TARGET_SHAPE

LEAST_VALIDATION_IMAGES = 1000
VALIDATION_PER_TRAIN = 1 / 9  # as in the whole set: a tenth of it validates


@dataclass(frozen=True)
class Examples:
    """Images with their targets, on one device. Never written to: processes may share their memory.

    Raises ValueError for tensors of other shapes, and for images of another type.
    """

    images: Tensor  # (N, 3, 32, 32) uint8
    targets: Tensor  # (N, 1, 28, 28) float32: what the pipeline makes of the images
    source: str = field(default="", kw_only=True)  # cifar10, photos, or a directory
    split: str = field(default="", kw_only=True)  # train, validation or test

    def __post_init__(self) -> None:
        wanted = (torch.uint8, IMAGE_SHAPE, (len(self.images), *TARGET_SHAPE))
        found = (self.images.dtype, tuple(self.images.shape[1:]), tuple(self.targets.shape))
        if found != wanted:
            raise ValueError(
                f"examples are images (N, 3, 32, 32) uint8 with targets (N, 1, 28, 28), but got "
                f"{tuple(self.images.shape)} {self.images.dtype} with {tuple(self.targets.shape)}"
            )

    def __len__(self) -> int:
        return len(self.images)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the images' pixels, in hexadecimal digits."""
        return hashlib.sha256(self.images.contiguous().numpy().data).hexdigest()

    @property
    def constant_targets(self) -> int:
        """How many targets are of one grey, which any constant output has cosine 1 with."""
        lowest, highest = self.targets.flatten(1).aminmax(dim=1)
        return int((lowest == highest).sum())

    def first(self, count: int) -> "Examples":
        """Return the first `count`, a fair sample since every source is shuffled once.

        Raises UsageError where there are fewer.
        """
        if not 1 <= count <= len(self):
            raise UsageError(
                f"{count:,} images were asked for, but the {self.split} split of {self.source} has "
                f"{len(self):,}: give --images between 1 and {len(self):,}"
            )
        return replace(self, images=self.images[:count], targets=self.targets[:count])

    def to(self, device: torch.device) -> "Examples":
        """Return the same examples on `device`; nothing is copied where they are there already."""
        return replace(self, images=self.images.to(device), targets=self.targets.to(device))


@dataclass(frozen=True)
class Splits:
    """What trials train on, what they are stopped and ranked by, and what only finalists see.

    Attributes:
        note: What was guessed or left out, in one line; empty where nothing was.
        available_images: Training images that the source has; these may be fewer.
    """

    train: Examples
    validation: Examples
    test: Examples
    note: str = ""
    available_images: int = field(kw_only=True)

    def cut(self, train_images: int) -> "Splits":
        """Keep only so many training images, and validation images in proportion.

        Both then take as long as before, one beside the other. The test split stays whole. Raises
        UsageError where there are fewer training images.
        """
        validation = self.validation.first(kept_validation(train_images, len(self.validation)))
        return replace(self, train=self.train.first(train_images), validation=validation)


def kept_validation(train_images: int, available: int) -> int:
    """Return how many validation images are used beside so many training images."""
    return min(available, max(LEAST_VALIDATION_IMAGES, round(train_images * VALIDATION_PER_TRAIN)))


def random_examples(count: int) -> Examples:
    """Make random images with unrelated targets, where only the time that they take counts."""
    return Examples(
        torch.randint(0, 256, (count, *IMAGE_SHAPE), dtype=torch.uint8),
        torch.rand(count, *TARGET_SHAPE),
    )
