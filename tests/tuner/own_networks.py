"""Networks that live outside the project, for tests of `--model package.module:Class`."""

import os
import sys
import time
from pathlib import Path

import torch
from torch import Tensor, nn

from trainables.networks.fc import FC
from trainables.networks.separable import Separable
from trainables.tasks import Task


class Mine(Separable):
    """Works."""


class Picky(FC):
    """Raises for half of what is searched, but at no end, and looks every value up in a table."""

    def __init__(self, task: Task, dropout: float, hidden: int) -> None:
        if 0.25 < dropout < 0.4:
            raise RuntimeError("this network does not like dropout")
        super().__init__(task, dropout, hidden)
        self.table = nn.Parameter(torch.linspace(0, 1, 256))

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(self.table[(255 * images).long()])


class Loud(FC):
    """Raises five megabytes that are no text, for half of what is searched."""

    def __init__(self, task: Task, dropout: float, hidden: int) -> None:
        if dropout > 0.25:
            raise RuntimeError("\x1b[2J \ud800 begins " + "x" * 5_000_000 + " ends")
        super().__init__(task, dropout, hidden)


class Gated(Separable):
    """Waits before each training step of a trial until as many are allowed over all processes."""

    def forward(self, images: Tensor) -> Tensor:
        if self.training and "ray" in sys.modules:
            gate = Path(os.environ["GATE"])
            with (gate / "steps").open("ab") as steps:
                steps.write(b".")
                steps.flush()
                number = steps.tell()
            while number > int((gate / "allowed").read_text()):
                time.sleep(0.02)
        return super().forward(images)
