"""The study's fully connected network: for its task 3072 → 128 → 784, sigmoid."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from trainables.gpu_kernels import fused_step
from trainables.hyperparameters import Parameter
from trainables.networks.base import Budget, Habits, check_at_least_one, scaled
from trainables.networks.dropout import Dropout
from trainables.tasks import Task


class FC(nn.Module):
    """Two linear layers, dropout between them when above zero, and a sigmoid over the range."""

    space: ClassVar = {
        "learning_rate": Parameter(1e-4, 1e-2, log=True),
        "dropout": Parameter(0.0, 0.5),
        "hidden": Parameter(128),
    }
    habits: ClassVar = Habits(
        cuda_graph=True,
        cpu=Budget(samples=16, max_epochs=12),
        gpu=Budget(samples=64, max_epochs=50),
    )

    def __init__(self, task: Task, dropout: float, hidden: int) -> None:
        super().__init__()
        check_at_least_one(hidden=hidden)
        self.task = task
        layers: list[nn.Module] = [nn.Flatten(), Linear(task.input_size, hidden)]
        if dropout > 0:
            layers.append(Dropout(dropout))
        layers += [Linear(hidden, task.output_size), nn.Sigmoid()]
        self.layers = nn.Sequential(*layers)

    def forward(self, images: Tensor) -> Tensor:
        outputs: Tensor = self.layers(images).unflatten(1, self.task.output_shape)
        return scaled(outputs, self.task)


class Linear(nn.Linear):
    """PyTorch's, which a GPU trains faster."""

    def forward(self, inputs: Tensor) -> Tensor:
        """Return outputs (N, out) of inputs (N, in)."""
        if fused_step(inputs) and not torch.is_autocast_enabled("cuda"):
            from trainables import step_kernels  # here: Triton takes a second

            outputs: Tensor = step_kernels.Linear.apply(inputs, self.weight, self.bias)
            return outputs
        return super().forward(inputs)
