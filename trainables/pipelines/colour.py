"""The gallery's pipelines that change colours: of each pixel alone, or by the image's histogram."""

import torch
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

SEPIA = ((0.393, 0.769, 0.189), (0.349, 0.686, 0.168), (0.272, 0.534, 0.131))
"""Rows for red, green and blue, as image editors have them."""


class Gamma:
    """A step that raises each value to the power of a number."""

    def __init__(self, power: float) -> None:
        self._power = power

    def __call__(self, image: Tensor) -> Tensor:
        """Return (…, c, H, W) for the same, both in [0, 1]."""
        corrected: Tensor = functional.adjust_gamma(image, self._power)
        return corrected


def sepia(image: Tensor) -> Tensor:
    """Mix colours by a matrix whose first two rows add up to more than 1, and clip at white."""
    mixed = torch.einsum("rc,...chw->...rhw", torch.tensor(SEPIA), image)
    return mixed.clamp(max=1)


greyscale = v2.Grayscale()
gamma = v2.Compose([v2.Grayscale(), Gamma(0.45)])
solarize = v2.RandomSolarize(threshold=0.5, p=1)
equalize = v2.RandomEqualize(p=1)
autocontrast = v2.RandomAutocontrast(p=1)
