"""Images with their targets: the one container in which they go from a source to their users."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from trainables.errors import UsageError
from trainables.tasks import STUDY, Shape, Task

LEAST_VALIDATION_IMAGES = 1000
RANGE_PART = 1000  # images at a time: they may lie in a file
VALIDATION_PER_TRAIN = 1 / 9  # as in the whole set: a tenth of it validates


@dataclass(frozen=True)
class Examples:
    """Images with their targets, on one device. Never written to: processes may share their memory.

    Raises ValueError for tensors of other shapes, and for images of another type.
    """

    images: Tensor  # (N, 3, H, W) uint8
    targets: Tensor  # (N, c, h, w) float32: what the pipeline makes of the images
    source: str = field(default="", kw_only=True)  # cifar10, photos, or a directory
    split: str = field(default="", kw_only=True)  # train, validation or test

    def __post_init__(self) -> None:
        images, targets = self.images, self.targets
        are_images = images.dtype == torch.uint8 and images.ndim == 4 and images.shape[1] == 3
        if not (are_images and targets.ndim == 4 and len(targets) == len(images)):
            raise ValueError(
                f"examples are images (N, 3, H, W) uint8 with targets (N, c, h, w), but got "
                f"{tuple(images.shape)} {images.dtype} with {tuple(targets.shape)}"
            )

    def __len__(self) -> int:
        return len(self.images)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the images' pixels, in hexadecimal digits."""
        return fingerprint_of(self.images)

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
        notes: What was guessed, left out or made anew, a line each.
        available_images: Training images that the source has; these may be fewer.
        task: Whose targets these are.
        without: What the pipeline makes of the test images without one of its steps, by the step's
            name, as targets are.
        affine: The pipeline's map, as `linear.AffineMap.to_tensors` has it; empty where none is
            known.
        probes: What is kept of its outputs on the probe images, as `identity.kept` has it.
    """

    train: Examples
    validation: Examples
    test: Examples
    notes: tuple[str, ...] = ()
    available_images: int = field(kw_only=True)
    task: Task = field(default=STUDY, kw_only=True)
    without: Mapping[str, Tensor] = field(default_factory=dict, kw_only=True)
    affine: Mapping[str, Tensor] = field(default_factory=dict, kw_only=True)
    probes: bytes = field(default=b"", kw_only=True)

    def cut(self, train_images: int) -> "Splits":
        """Keep only so many training images, and validation images in proportion.

        Both then take as long as before, one beside the other. The test split stays whole. Raises
        UsageError where there are fewer training images.
        """
        validation = self.validation.first(kept_validation(train_images, len(self.validation)))
        return replace(self, train=self.train.first(train_images), validation=validation)


def fingerprint_of(images: Tensor) -> str:
    """Return the SHA-256 of pixels, in hexadecimal digits."""
    return hashlib.sha256(images.contiguous().numpy().data).hexdigest()


def kept_validation(train_images: int, available: int) -> int:
    """Return how many validation images are used beside so many training images."""
    return min(available, max(LEAST_VALIDATION_IMAGES, round(train_images * VALIDATION_PER_TRAIN)))


def random_examples(count: int, task: Task) -> Examples:
    """Make random images with unrelated targets, where only the time that they take counts."""
    return Examples(
        torch.randint(0, 256, (count, *task.input_shape), dtype=torch.uint8),
        torch.rand(count, *task.output_shape),
    )


def as_float(images: Tensor) -> Tensor:
    """Return uint8 images of any shape as float32 in [0, 1], in a new tensor."""
    return images.to(torch.float32).mul_(1 / 255)


def shape_of(images: Tensor) -> Shape:
    """Return channels, height and width of images (N, C, H, W), or of one (C, H, W)."""
    channels, height, width = images.shape[-3:]
    return channels, height, width


def range_of(targets: Tensor) -> tuple[float, float]:
    """Return the lowest and the highest value of targets: 0 and 1 where all lie between them."""
    ends = [part.aminmax() for part in targets.split(RANGE_PART)]
    low, high = min(float(end.min) for end in ends), max(float(end.max) for end in ends)
    if low >= 0 and high <= 1 + 1e-6:
        return 0.0, 1.0
    return (low, high) if high > low else (low, low + 1)
