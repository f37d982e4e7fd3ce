"""The gallery's pipelines that change colours: of each pixel alone, or by the image's histogram.

They are torchvision's functions: its transforms, `RandomSolarize` and the like, call the same and
take up to twice as long for a small image.
"""

from functools import partial

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
        return functional.adjust_gamma(image, self._power)


def sepia(image: Tensor) -> Tensor:
    """Mix colours by a matrix whose first two rows add up to more than 1, and clip at white."""
    mixed = torch.einsum("rc,...chw->...rhw", image.new_tensor(SEPIA), image)
    return mixed.clamp(max=1)


greyscale = functional.rgb_to_grayscale
gamma = v2.Compose([v2.Grayscale(), Gamma(0.45)])
solarize = partial(functional.solarize, threshold=0.5)
equalize = functional.equalize
autocontrast = functional.autocontrast
