"""What a network declares beside its architecture: hyperparameters, and how it is trained."""

from dataclasses import dataclass
from itertools import chain
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn

from trainables.data.examples import as_float
from trainables.errors import UsageError
from trainables.hyperparameters import TRAINING, Parameter, Parameters
from trainables.tasks import Shape, Task

MAP = "map"
"""The value of a hyperparameter `start` with which a network begins as an affine map.

Training gives the map to the network's method `start_at`, once, before the first update.
"""


@dataclass(frozen=True, kw_only=True)
class Budget:
    """How much a search does unless the command line says otherwise.

    Attributes:
        samples: Trials.
        max_epochs: Epochs of a trial that nothing stops.
        images: Training images; None takes all.
    """

    samples: int
    max_epochs: int
    images: int | None = None


@dataclass(frozen=True, kw_only=True)
class Habits:
    """How a network is trained, beside its hyperparameters; the command line overrides some.

    Attributes:
        batch_size: Images per update.
        reduced_precision: Whether bfloat16 and channels_last pay where the hardware has them: true
            for convolutions.
        cpu_slice: Images that go through it at once on a CPU, laid out channels_last, so that its
            cache holds what is kept for the gradients. None takes whole batches; so must a network
            whose output for one image depends on others (batch norm).
        cuda_graph: Whether a GPU may record a training step once and replay it: true where
            `forward` does the same operations each time, whatever Python's own state; PyTorch's
            dropout may be among them.
        cpu: For 2 CPU cores: a real but small search that a person will wait for.
        gpu: Where there are GPUs.
    """

    batch_size: int = 256
    reduced_precision: bool = False
    cpu_slice: int | None = None
    cuda_graph: bool = False
    cpu: Budget = Budget(samples=8, max_epochs=10)
    gpu: Budget = Budget(samples=64, max_epochs=50)

    @property
    def problem(self) -> str:
        """Which of these values makes no sense; empty where all do."""
        counts = {"batch_size": self.batch_size, "cpu_slice": self.cpu_slice or 1}
        for name in ("cpu", "gpu"):
            budget: Budget = getattr(self, name)
            counts |= {f"{name}.samples": budget.samples, f"{name}.max_epochs": budget.max_epochs}
            counts[f"{name}.images"] = budget.images or 1
        for name, count in counts.items():
            if not (isinstance(count, int) and count >= 1):
                return f"{name} is a whole number ≥ 1, but got {count!r}"
        return ""

    def slice_size(self, device: torch.device) -> int | None:
        """Return how many images go through at once on a device; None for whole batches."""
        return self.cpu_slice if device.type == "cpu" else None


class Network(Protocol):
    """A class of modules from (N, C, H, W) float32 in [0, 1] to the task's outputs, float32.

    Its constructor takes the task, and by name each hyperparameter of its `space` that training
    does not use itself. It may have `habits`, and a method `misfit`, which says of a task why the
    network can't do it.
    """

    space: ClassVar[Parameters]

    def __call__(self, task: Task, **chosen: Any) -> nn.Module: ...


def habits_of(network: "Network | type[nn.Module]") -> Habits:
    """Return how a network is trained: as it says, else as most are."""
    habits: Habits = getattr(network, "habits", None) or Habits()
    return habits


def space_of(network: "Network | type[nn.Module]") -> dict[str, Parameter]:
    """Return a network's hyperparameters: those that training uses, and its own."""
    own: Parameters = getattr(network, "space", {})
    return {**TRAINING, **own}


def may_start_at_map(space: Parameters) -> bool:
    """Tell whether some trials of a space begin as an affine map."""
    return "start" in space and MAP in space["start"].values


def scaled(outputs: Tensor, task: Task) -> Tensor:
    """Return outputs in [0, 1] in the range of the task."""
    return outputs if task.is_unit else outputs * task.span + task.low


def check_at_least_one(**counts: int) -> None:
    """Raise UsageError for the first of these arguments of a network that is below 1."""
    for name, count in counts.items():
        if count < 1:
            raise UsageError(f"{name} ≥ 1 must hold, but got {count}")


def check_outputs(
    outputs: Any, images: Tensor, output_shape: Shape, *, reduced: bool = False
) -> None:
    """Raise UsageError where a network has made something else than an output of each image.

    Args:
        outputs: What it returned: (N, *output_shape) float32 on the device of the images.
        images: What it was given, (N, C, H, W).
        output_shape: Of the task.
        reduced: Whether bfloat16 is right too.
    """
    shape, types = (len(images), *output_shape), [torch.float32, torch.bfloat16][: 1 + reduced]
    found = f"a {type(outputs).__name__}"
    if isinstance(outputs, Tensor):
        if (outputs.shape, outputs.device) == (shape, images.device) and outputs.dtype in types:
            return
        found = f"{tuple(outputs.shape)} {outputs.dtype} on {outputs.device}"
    raise UsageError(
        f"the network makes {found} of {len(images)} images: it has to return a tensor "
        f"{shape} of {torch.float32} on {images.device}"
    )


def parameter_count(network: nn.Module) -> int:
    """Count the numbers that training adjusts."""
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)


def device_of(network: nn.Module) -> torch.device:
    """Return where a network is; the CPU where it has neither parameters nor buffers."""
    return next(chain(network.parameters(), network.buffers()), torch.empty(0)).device


def as_input(
    images: Tensor, memory_format: torch.memory_format = torch.contiguous_format
) -> Tensor:
    """Return uint8 images (N, C, H, W) as networks take them, float32, laid out as asked."""
    return as_float(images).contiguous(memory_format=memory_format)


class EndToEnd(nn.Module):
    """A network behind the conversion that its inputs need.

    Args:
        network: From (N, C, H, W) float32 in [0, 1] to float32 outputs.
        slice_size: Images that go through the network at once, which is then laid out
            channels_last; None takes all and leaves the network as it is.
    """

    def __init__(self, network: nn.Module, slice_size: int | None = None) -> None:
        super().__init__()
        self.network = network.to(memory_format=torch.channels_last) if slice_size else network
        self.slice_size = slice_size

    def forward(self, images: Tensor) -> Tensor:
        """Return the outputs, float32, for images (N, C, H, W) uint8."""
        if self.slice_size is None:
            outputs: Tensor = self.network(as_input(images))
            return outputs
        parts = images.split(self.slice_size)
        return torch.cat([self.network(as_input(part, torch.channels_last)) for part in parts])
