"""Networks that do what a network should not."""

import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from trainables.networks.separable import Separable
from trainables.tasks import Task

MARK = "MISBEHAVING_MARK"  # the file in which Loud leaves the number of a process


class Loud(Separable):
    """Prints, reads, forks, and starts threads that never end; but it trains."""

    def forward(self, images: Tensor) -> Tensor:
        print("NOISE")
        os.system("echo NOISE; echo NOISE >&2")
        sys.stderr.write("NOISE")
        sys.stdin.read()
        threading.Thread(target=threading.Event().wait).start()
        if not self.training and os.fork() == 0:
            Path(os.environ[MARK]).write_text(str(os.getpid()))
            time.sleep(1000)
        return super().forward(images)


class Hanging(Separable):
    def __init__(self, task: Task) -> None:
        Path(os.environ[MARK]).write_text(str(os.getpid()))
        time.sleep(1000)


class Raises(Separable):
    error: BaseException = RuntimeError("no")

    def forward(self, images: Tensor) -> Tensor:
        raise self.error


class Leaves(Raises):
    error = SystemExit(0)


class Interrupts(Raises):
    error = KeyboardInterrupt()


class Fills(Raises):
    error = OSError(28, "No space left on device")


class Talks(Raises):
    error = RuntimeError("E" * 5_000_000)


class Needs(Separable):
    def __init__(self, task: Task, needed: int) -> None:
        super().__init__(task)


class Quits(Separable):
    def __init__(self, task: Task) -> None:
        sys.exit(3)


class Unused(Separable):
    def __init__(self, task: Task) -> None:
        super().__init__(task)
        self.unused = nn.Parameter(torch.zeros(0, 3))


class Frozen(Separable):
    def __init__(self, task: Task) -> None:
        super().__init__(task)
        self.requires_grad_(False)


class Detached(Separable):
    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images).detach()


class Flat(Separable):
    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images)[:, 0]


class Forgets(Separable):
    def state_dict(self, *_: Any, **__: Any) -> Any:
        return {}


class Keeps(Separable):
    """Has a state that is no tensor."""

    def get_extra_state(self) -> Any:
        return {"a": 1}

    def set_extra_state(self, state: Any) -> None:
        pass


class Shared(Separable):
    """Two names for one tensor, and an infinite one: neither is a fault."""

    def __init__(self, task: Task) -> None:
        super().__init__(task)
        self.again = self.rows
        self.lock = threading.Lock()
        self.register_buffer("infinite", torch.tensor(float("inf")))


class Diverges(Separable):
    """A trial says so."""

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images) * float("nan")


class Empties(Separable):
    """Writes over its input."""

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images.zero_())


class Looks(Separable):
    """Autograd finds no way from its outputs to the pixels."""

    def __init__(self, task: Task) -> None:
        super().__init__(task)
        self.table = nn.Parameter(torch.rand(256))

    def forward(self, images: Tensor) -> Tensor:
        outputs = super().forward(images.detach())
        return outputs + self.table[(255 * images[:, :1, :28, :28]).long()]
