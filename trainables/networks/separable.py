"""The network to beat: three channel weights, one 28 × 32 and one 32 × 28 matrix, 1,795 parameters.

The reference pipeline is exactly of this form, so its own factors are one setting of these weights.
"""

from typing import ClassVar

import torch
from torch import Tensor, nn

from trainables.linear import Factors
from trainables.networks.base import Budget, Defaults


class Separable(nn.Module):
    """`output = rows @ (channels · image) @ columns`."""

    defaults: ClassVar = Defaults(
        learning_rate=(1e-3, 1e-1),
        cuda_graph=True,
        cpu=Budget(samples=16, max_epochs=20),
        gpu=Budget(samples=64, max_epochs=50),
    )

    def __init__(self) -> None:
        super().__init__()
        self.channels = nn.Parameter(torch.full((3,), 1 / 3))
        # Near the scale of an average over a line, so that the first outputs lie between 0 and 1
        self.rows = nn.Parameter(torch.rand(28, 32) / 16)
        self.columns = nn.Parameter(torch.rand(32, 28) / 16)

    def forward(self, images: Tensor) -> Tensor:
        # Batched products over expanded weights: with gradients, twice as fast as tensordot and `@`
        count = images.shape[0]  # len() would be a constant in an exported model
        grey = torch.bmm(self.channels.expand(count, 1, 3), images.flatten(2)).view(count, 32, 32)
        return torch.bmm(self.rows.expand(count, 28, 32), grey @ self.columns).unsqueeze(1)

    @classmethod
    def from_factors(cls, factors: Factors) -> "Separable":
        """Return the network whose weights are a pipeline's own matrix: the ceiling of accuracy."""
        network = cls()
        with torch.no_grad():
            for parameter, factor in zip(network.parameters(), factors, strict=True):
                parameter.copy_(factor)
        return network
