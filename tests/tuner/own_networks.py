"""Networks that live outside the project, for tests of `--model package.module:Class`."""

import os
import signal
import time
from pathlib import Path

import ray
from torch import Tensor, distributed

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


class Deadly(Separable):
    """Kills the process that trains it."""

    def forward(self, images: Tensor) -> Tensor:
        if self.training:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().forward(images)


class Slow(Separable):
    """Takes 0.1 s for a batch and no processor for it."""

    def forward(self, images: Tensor) -> Tensor:
        if self.training:
            time.sleep(0.1)
        return super().forward(images)


class Witness(Separable):
    """Leaves a file for each node on which it trains: which of how many workers that was."""

    def forward(self, images: Tensor) -> Tensor:
        if self.training:
            group = (
                (distributed.get_rank(), distributed.get_world_size())
                if distributed.is_initialized()
                else (0, 1)
            )
            node = ray.get_runtime_context().get_node_id()
            Path(os.environ["WITNESSES"], node).write_text("{} of {}".format(*group))
        return super().forward(images)


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
