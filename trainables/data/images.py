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
        least = 2 if self.validation is None else 1  # since one of them then validates
        if len(self.train) < least or not len(self.test):
            raise UsageError(
                f"--data {self.source}: {len(self.train)} images train and {len(self.test)} test, "
                f"where at least {least} and 1 must: give more images"
            )
