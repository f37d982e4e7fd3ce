"""The network to beat: for the study three channel weights, a 28 × 32 and a 32 × 28 matrix.

These are 1,795 parameters. The study's pipeline is exactly of this form, so its own factors are one
setting of these weights.
"""

from typing import ClassVar

import torch
from torch import Tensor, nn

from trainables.hyperparameters import Parameter
from trainables.linear import AffineMap
from trainables.networks.base import Budget, Habits
from trainables.tasks import Task

MOST_CHANNELS = 3  # of an output


class Separable(nn.Module):
    """`output = rows @ (channels · image) @ columns`, plus an offset where the task has one."""

    space: ClassVar = {"learning_rate": Parameter(1e-3, 1e-1, log=True)}
    habits: ClassVar = Habits(
        cuda_graph=True,
        cpu=Budget(samples=16, max_epochs=20),
        gpu=Budget(samples=64, max_epochs=50),
    )

    def __init__(self, task: Task) -> None:
        super().__init__()
        made, height, width = task.output_shape
        taken, rows, columns = task.input_shape
        # An output of one channel has its weights in one line, as files of earlier versions do
        shape = (taken,) if made == 1 else (made, taken)
        self.channels = nn.Parameter(torch.full(shape, 1 / taken))
        # Near the scale of an average over a line, so that the first outputs lie between 0 and 1
        self.rows = nn.Parameter(torch.rand(height, rows) / (rows / 2))
        self.columns = nn.Parameter(torch.rand(columns, width) / (columns / 2))
        offset = torch.zeros(made, 1, 1) if task.offset else None
        self.offset = None if offset is None else nn.Parameter(offset)

    def forward(self, images: Tensor) -> Tensor:
        # Batched products over expanded weights: with gradients, twice as fast as tensordot and `@`
        count = images.shape[0]  # len() would be a constant in an exported model
        channels = self.channels.view(-1, images.shape[1])
        mixed = torch.bmm(channels.expand(count, *channels.shape), images.flatten(2))
        parts = mixed.view(-1, *images.shape[2:])
        rows = self.rows.expand(parts.shape[0], *self.rows.shape)
        outputs = torch.bmm(rows, parts @ self.columns).view(count, len(channels), *self.size)
        return outputs if self.offset is None else outputs + self.offset

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of an output, in pixels."""
        return self.rows.shape[0], self.columns.shape[1]

    @classmethod
    def misfit(cls, task: Task) -> str:
        """Say why it can't do a task: empty where it can."""
        if task.output_shape[0] > MOST_CHANNELS:
            return (
                f"separable makes outputs of at most {MOST_CHANNELS} channels, and these have "
                f"{task.output_shape[0]}; give --model fc"
            )
        if task.affine_residual is not None and not task.is_affine:
            return (
                f"separable can be affine only, and this pipeline is not: it differs by "
                f"{task.affine_residual:.1g} of its range; give --model fc"
            )
        return ""

    @classmethod
    def from_map(cls, affine: AffineMap, task: Task) -> "Separable":
        """Return the network whose weights are a pipeline's own factors.

        Of the offset it has the mean of each channel. Raises ValueError for a map that is not of
        rank 1.
        """
        (term,) = affine.terms
        network = cls(task)
        with torch.no_grad():
            network.channels.copy_(term.channels.view_as(network.channels))
            network.rows.copy_(term.rows)
            network.columns.copy_(term.columns)
            if network.offset is not None:
                network.offset.copy_(affine.offset.mean(dim=(1, 2), keepdim=True))
        return network
