"""What the perceptual loss is made of: VGG16's convolutions, weights and normalisation.

Without PyTorch, so that a command line can be checked before its 2 s have passed. `vgg16_weights`
loads what this file names.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from trainables.errors import UsageError

SMALLEST = 32  # pixels of a side: four poolings leave 2 × 2
# Input and output channels of each 3 × 3 convolution, by index in torchvision's `features`
CONVOLUTIONS = {
    0: (3, 64),
    2: (64, 64),
    5: (64, 128),
    7: (128, 128),
    10: (128, 256),
    12: (256, 256),
    14: (256, 256),
    17: (256, 512),
    19: (512, 512),
    21: (512, 512),
    24: (512, 512),
    26: (512, 512),
    28: (512, 512),
}
# Convolutions that a 2 × 2 maximum pooling follows, before the next
POOLED = (2, 7, 14, 21)


@dataclass(frozen=True)
class Normalisation:
    """What is subtracted from red, green and blue in [0, 1], and what that is divided by."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]


NORMALISATIONS = {
    "imagenet": Normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "features": Normalisation((0.48235, 0.45882, 0.40784), (1 / 255, 1 / 255, 1 / 255)),
}
# Files that torchvision publishes; each name ends with the first digits of the file's SHA-256
URLS = {
    "IMAGENET1K_V1": "https://download.pytorch.org/models/vgg16-397923af.pth",
    "IMAGENET1K_FEATURES": (
        "https://download.pytorch.org/models/vgg16_features-amdegroot-88682ab5.pth"
    ),
}
PUBLISHED = {"IMAGENET1K_V1": "imagenet", "IMAGENET1K_FEATURES": "features"}  # normalised so


def check_weights(source: str) -> None:
    """Raise UsageError where `source` is neither one of PUBLISHED nor a file."""
    if source not in PUBLISHED and not Path(source).is_file():
        raise UsageError(
            f"--vgg-weights {source}: there is no such file; give a safetensors file, "
            f"a state dict as torchvision publishes it, or one of {', '.join(PUBLISHED)}"
        )


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
        ascending = tuple(layer for layer in CONVOLUTIONS if layer in self.layers)
        if self.layers != ascending or not self.layers:
            raise ValueError(
                f"layers must be convolutions of VGG16, at least one, ascending, each named once: "
                f"choose from {_listed(CONVOLUTIONS)}, but got {_listed(self.layers) or 'none'}"
            )
        if len(self.layer_weights) != len(self.layers):
            raise ValueError(
                f"layer_weights must be as many as layers, {len(self.layers)}, "
                f"but got {len(self.layer_weights)}"
            )
        if not any((*self.layer_weights, self.mse_weight)):
            raise ValueError(
                "layer_weights or mse_weight must hold a number above 0, but got only zeros"
            )


def _listed(layers: Iterable[int]) -> str:
    return ", ".join(map(str, layers))
