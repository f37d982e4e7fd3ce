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
        held_out = self.validation is None  # from the training images
        for split, images, least in (
            ("training", self.train, 2 if held_out else 1),
            ("test", self.test, 1),
        ):
            if len(images) < least:
                raise UsageError(
                    f"--data {self.source}: it has {len(images)} {split} images: "
                    f"give at least {least}"
                )
