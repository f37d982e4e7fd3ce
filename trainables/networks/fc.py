"""The study's fully connected network: 3072 → 128 → 784, sigmoid."""

from typing import ClassVar

from torch import Tensor, nn

from trainables.networks.base import Budget, Defaults
from trainables.networks.dropout import Dropout


class FC(nn.Module):
    """Two linear layers, dropout between them when above zero, and a sigmoid."""

    defaults: ClassVar = Defaults(
        learning_rate=(1e-4, 1e-2),
        dropout=(0.0, 0.5),
        cuda_graph=True,
        cpu=Budget(samples=16, max_epochs=12),
        gpu=Budget(samples=64, max_epochs=50),
    )

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Flatten(), nn.Linear(3 * 32 * 32, 128)]
        if dropout > 0:
            layers.append(Dropout(dropout))
        layers += [nn.Linear(128, 28 * 28), nn.Sigmoid()]
        self.layers = nn.Sequential(*layers)

    def forward(self, images: Tensor) -> Tensor:
        outputs: Tensor = self.layers(images).unflatten(1, (1, 28, 28))
        return outputs
