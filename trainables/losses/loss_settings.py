"""What a training may minimise: mean squared error, or that with a perceptual part. No PyTorch."""

import math
from dataclasses import dataclass

from trainables.losses.vgg16 import CONVOLUTIONS

LOSSES = ("mse", "perceptual")
SMALLEST = 32  # pixels of a side: four poolings leave 2 × 2


@dataclass(frozen=True, kw_only=True)
class Perceptual:
    """The perceptual loss: mean squared error plus weighted distances between VGG16's activations.

    Raises ValueError where a setting makes no sense.

    Attributes:
        layers: Convolutions of `torchvision.models.vgg16().features`, each taken before its ReLU.
        layer_weights: One for each layer.
        size: Pixels of a side to which outputs and targets are enlarged.
    """

    layers: tuple[int, ...] = (2, 7, 14, 21, 28)
    layer_weights: tuple[float, ...] = (1.0,) * 5
    mse_weight: float = 1.0
    size: int = 224

    def __post_init__(self) -> None:
        self._check_layers()
        self._check_weights()
        if self.size < SMALLEST:
            raise ValueError(f"size ≥ {SMALLEST} must hold, but got {self.size}")

    def _check_layers(self) -> None:
        known = ", ".join(map(str, CONVOLUTIONS))
        if not self.layers:
            raise ValueError(
                f"layers must name at least one convolution of VGG16, but got none: "
                f"choose from {known}"
            )
        for layer in self.layers:
            if layer not in CONVOLUTIONS:
                raise ValueError(
                    f"layers must be convolutions of VGG16, but got {layer}: choose from {known}"
                )
        if list(self.layers) != sorted(set(self.layers)):
            given = ", ".join(map(str, self.layers))
            raise ValueError(f"layers must ascend, each named once, but got {given}")

    def _check_weights(self) -> None:
        if len(self.layer_weights) != len(self.layers):
            raise ValueError(
                f"layer_weights must be as many as layers, {len(self.layers)}, "
                f"but got {len(self.layer_weights)}"
            )
        for name, weights in (
            ("layer_weights", self.layer_weights),
            ("mse_weight", (self.mse_weight,)),
        ):
            for weight in weights:
                if not (weight >= 0 and math.isfinite(weight)):
                    raise ValueError(f"{name} ≥ 0 and finite must hold, but got {weight}")
        if not any((*self.layer_weights, self.mse_weight)):
            raise ValueError(
                "layer_weights or mse_weight must hold a number above 0, but got only zeros"
            )
