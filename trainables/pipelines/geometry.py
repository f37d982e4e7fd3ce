"""The gallery's pipelines that move pixels or change their number, all of them affine maps.

The study is one too, in a file of its own.
"""

from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional

DEGREES = 15
INSET = 0.2  # of the width, by which the upper corners move inwards


def rotate(image: Tensor) -> Tensor:
    """Rotate around the middle, counter-clockwise; what was outside is black."""
    return functional.rotate(image, DEGREES, InterpolationMode.BILINEAR)


def perspective(image: Tensor) -> Tensor:
    """Tilt the upper edge away, so that it is as much shorter; what was outside is black."""
    right, bottom = image.shape[-1] - 1, image.shape[-2] - 1
    corners = [[0, 0], [right, 0], [right, bottom], [0, bottom]]
    moved = [[INSET * right, 0], [(1 - INSET) * right, 0], *corners[2:]]
    return functional.perspective(image, corners, moved, InterpolationMode.BILINEAR)


def down_up(image: Tensor) -> Tensor:
    """Resize to half the height and width, and back."""
    height, width = image.shape[-2:]
    small = functional.resize(image, [max(1, height // 2), max(1, width // 2)], antialias=True)
    return functional.resize(small, [height, width], antialias=True)
