"""A source's images in their splits, before the pipeline makes targets of them.

NumPy only: PyTorch takes 2 s to import, and what is wrong with a source is told before that.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainables.errors import UsageError

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Images:
    """What a source holds, each split (N, 3, 32, 32) uint8.

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
        train, test = len(self.train), len(self.test)
        # One training image that validates must leave another
        validation = max(train - 1, 0) if self.validation is None else len(self.validation)
        if not (train and validation and test):
            raise UsageError(
                f"--data {self.source}: of its images {train} may train, {validation} validate and "
                f"{test} test: give more"
            )
