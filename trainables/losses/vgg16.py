"""VGG16's convolutions: their shapes, whose weights there are, and how their input is normalised.

Without PyTorch, so that a command line can be checked before its 2 s have passed. `vgg16_weights`
loads what this file names.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from trainables.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

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
"""Input and output channels of each 3 × 3 convolution, by index in torchvision's `features`."""
POOLED = (5, 10, 17, 24)
"""Convolutions whose input is what a 2 × 2 maximum pooling gives."""


@dataclass(frozen=True)
class Normalisation:
    """What is subtracted from red, green and blue in [0, 1], and what that is divided by."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]


NORMALISATIONS = {
    "imagenet": Normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "features": Normalisation((0.48235, 0.45882, 0.40784), (1 / 255, 1 / 255, 1 / 255)),
}
MODELS = "https://download.pytorch.org/models"
URLS = {
    "IMAGENET1K_V1": f"{MODELS}/vgg16-397923af.pth",
    "IMAGENET1K_FEATURES": f"{MODELS}/vgg16_features-amdegroot-88682ab5.pth",
}
"""Files that torchvision publishes; each name ends with the first digits of the file's SHA-256."""
PUBLISHED = tuple(URLS)
PUBLISHED_NORMALISATIONS = {"IMAGENET1K_V1": "imagenet", "IMAGENET1K_FEATURES": "features"}


@dataclass(frozen=True, eq=False)
class Vgg16:
    """The convolutions' weights as plain tensors, and how their input is normalised.

    Attributes:
        tensors: float32: features.N.weight (out, in, 3, 3) and features.N.bias (out,) of
            convolution N.
        name: A published name, or the file that the weights come from.
    """

    tensors: dict[str, "Tensor"]
    normalisation: Normalisation
    name: str


def check(source: str) -> None:
    """Raise UsageError where `source` is neither one of PUBLISHED nor a file."""
    if source not in PUBLISHED and not Path(source).is_file():
        raise UsageError(
            f"--vgg-weights {source}: there is no such file; give a safetensors file, "
            f"a state dict as torchvision publishes it, or one of {', '.join(PUBLISHED)}"
        )
