"""Networks that live outside the project, for tests of `--model package.module:Class`."""

import os
import time
from pathlib import Path

from torch import Tensor

from trainables.networks.fc import FC
from trainables.networks.separable import Separable


class Mine(Separable):
    """Works."""


class Picky(FC):
    """Raises for half of what is searched."""

    def __init__(self, dropout: float = 0.0) -> None:
        if dropout > 0.25:
            raise RuntimeError("this network does not like dropout")
        super().__init__(dropout)


class Gated(Separable):
    """Waits before each training step until as many are allowed over all processes."""

    def forward(self, images: Tensor) -> Tensor:
        if self.training:
            gate = Path(os.environ["GATE"])
            with (gate / "steps").open("ab") as steps:
                steps.write(b".")
                steps.flush()
                number = steps.tell()
            while number > int((gate / "allowed").read_text()):
                time.sleep(0.02)
        return super().forward(images)
