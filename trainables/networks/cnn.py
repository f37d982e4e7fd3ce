"""The study's convolutional network: four 4 × 4 convolutions, 32 → 31 → 30 → 29 → 28.

Where the output has the size of the input they are 3 × 3, which keep it. With another depth they
share what the output is smaller as evenly as that goes: two are 5 × 5, of five the last is 3 × 3.
"""

from typing import ClassVar

import torch
from torch import Tensor, nn

from trainables.gpu_kernels import fused_step
from trainables.hyperparameters import Parameter
from trainables.networks.base import Budget, Habits, check_at_least_one
from trainables.networks.dropout import Dropout
from trainables.tasks import Task

SMALLER = (4, 0)  # pixels by which an output may be smaller than the input


class CNN(nn.Module):
    """Sees 13 × 13 pixels around each output pixel, so it cannot follow a flip across the image."""

    space: ClassVar = {
        "learning_rate": Parameter(1e-4, 1e-2, log=True),
        "dropout": Parameter(0.0, 0.5),
        "channels": Parameter(64),
        "depth": Parameter(4),
    }
    habits: ClassVar = Habits(
        reduced_precision=True,
        cpu_slice=32,
        cuda_graph=True,
        cpu=Budget(samples=6, max_epochs=6, images=2048),
        gpu=Budget(samples=32, max_epochs=30),
    )

    def __init__(self, task: Task, dropout: float, channels: int, depth: int) -> None:
        super().__init__()
        check_at_least_one(channels=channels, depth=depth)
        widths = [task.input_shape[0], *[channels] * (depth - 1), task.output_shape[0]]
        layers: list[nn.Module] = []
        for number, size in enumerate(_kernels(_smaller(task) or 0, depth)):
            if number:
                layers.append(nn.ReLU())
            if number > 1:
                layers.append(Dropout(dropout))
            layers.append(nn.Conv2d(widths[number], widths[number + 1], size, padding=1))
        self.layers = nn.Sequential(*layers)

    def forward(self, images: Tensor) -> Tensor:
        if fused_step(images) and torch.is_autocast_enabled("cuda"):
            from trainables import step_kernels  # here: Triton takes a second

            return step_kernels.convolutions(self.layers, images)
        outputs: Tensor = self.layers(images)
        return outputs

    @classmethod
    def misfit(cls, task: Task) -> str:
        """Say why it can't do a task: empty where it can."""
        if _smaller(task) in SMALLER:
            return ""
        return (
            f"cnn makes outputs of the input's size, or 4 pixels smaller, and these are "
            f"{task.output_shape[1]} × {task.output_shape[2]} for "
            f"{task.input_shape[1]} × {task.input_shape[2]}; give --model fc"
        )


def _smaller(task: Task) -> int | None:
    """Return by how many pixels both sides of the output are smaller; None where they differ."""
    rows, columns = (
        i - o for i, o in zip(task.input_shape[1:], task.output_shape[1:], strict=True)
    )
    return rows if rows == columns else None


def _kernels(smaller: int, depth: int) -> list[int]:
    """Return the sides of so many kernels; with a padding of 1, one of 3 × 3 keeps the size."""
    return [3 + (smaller + depth - 1 - number) // depth for number in range(depth)]
