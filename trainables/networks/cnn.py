"""The study's convolutional network: four 4 × 4 convolutions, 32 → 31 → 30 → 29 → 28."""

from typing import ClassVar

from torch import Tensor, nn

from trainables.networks.base import Budget, Defaults
from trainables.networks.dropout import Dropout


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

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 64, kernel_size=4, padding=1),
            nn.ReLU(),
            nn.Conv2d(64, 64, kernel_size=4, padding=1),
            nn.ReLU(),
            Dropout(dropout),
            nn.Conv2d(64, 64, kernel_size=4, padding=1),
            nn.ReLU(),
            Dropout(dropout),
            nn.Conv2d(64, 1, kernel_size=4, padding=1),
        )

    def forward(self, images: Tensor) -> Tensor:
        outputs: Tensor = self.layers(images)
        return outputs
