"""The study's convolutional network: four 4 × 4 convolutions, 32 → 31 → 30 → 29 → 28.

Where the output has the size of the input they are 3 × 3, which keep it.
"""

from typing import ClassVar

from torch import Tensor, nn

from trainables.networks.base import Budget, Defaults
from trainables.networks.dropout import Dropout
from trainables.task import Task

KERNELS = {4: 4, 0: 3}  # sides of a kernel by what the output is smaller than the input, in pixels


class CNN(nn.Module):
    """Sees 13 × 13 pixels around each output pixel, so it cannot follow a flip across the image."""

    defaults: ClassVar = Defaults(
        learning_rate=(1e-4, 1e-2),
        dropout=(0.0, 0.5),
        reduced_precision=True,
        cpu_slice=32,
        cuda_graph=True,
        cpu=Budget(samples=6, max_epochs=6, images=2048),
        gpu=Budget(samples=32, max_epochs=30),
    )

    def __init__(self, task: Task, dropout: float = 0.0) -> None:
        super().__init__()
        size = KERNELS[_smaller(task) or 0]
        self.layers = nn.Sequential(
            nn.Conv2d(task.input_shape[0], 64, size, padding=1),
            nn.ReLU(),
            nn.Conv2d(64, 64, size, padding=1),
            nn.ReLU(),
            Dropout(dropout),
            nn.Conv2d(64, 64, size, padding=1),
            nn.ReLU(),
            Dropout(dropout),
            nn.Conv2d(64, task.output_shape[0], size, padding=1),
        )

    def forward(self, images: Tensor) -> Tensor:
        outputs: Tensor = self.layers(images)
        return outputs

    @classmethod
    def misfit(cls, task: Task) -> str:
        """Say why it can't do a task: empty where it can."""
        if _smaller(task) in KERNELS:
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
