"""A source's images in their splits, before the pipeline makes targets of them.

NumPy only: PyTorch takes 2 s to import, and what is wrong with a source is told before that.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainables.errors import UsageError

Pixels = NDArray[np.uint8]
Size = tuple[int, int]  # height and width
SIZE: Size = (32, 32)  # of images, unless another one is asked for


def size_of(sides: tuple[int, ...] | None) -> Size:
    """Return height and width as `--image-size` has them: both, one for squares, or None.

    Raises UsageError where there are more, or none.
    """
    if sides is None:
        return SIZE
    if len(sides) not in (1, 2):
        text = " ".join(map(str, sides)) or "without a number"
        raise UsageError(f"--image-size {text}: give height and width, or one number for squares")
    return sides[0], sides[-1]


@dataclass(frozen=True, kw_only=True)
class Images:
    """What a source holds, each split (N, 3, H, W) uint8.

    Raises UsageError where a split would be left without images.

    Attributes:
        source: cifar10, photos, or a directory.
        train: What trains; some of it validates where `validation` is None.
        validation: What the source itself sets aside for validation.
        test: What only finalists see.
        note: What was guessed or left out, in one line; empty where nothing was.
    """

    source: str
    train: Pixels
    validation: Pixels | None = None
    test: Pixels
    note: str = ""

    def __post_init__(self) -> None:
        validation = None if self.validation is None else len(self.validation)
        check_enough(f"--data {self.source}", len(self.train), validation, len(self.test))


def check_enough(asked: str, train: int, validation: int | None, test: int) -> None:
    """Raise UsageError where a split would be left without images.

    Args:
        asked: What the sentence begins with.
        train, test: How many there are.
        validation: How many are set aside for it; None where some of `train` are.
    """
    if validation is None:
        validation = max(train - 1, 0)  # one training image that validates must leave another
    if not (train and validation and test):
        raise UsageError(
            f"{asked}: of its images {train} may train, {validation} validate and {test} test: "
            f"give more"
        )
