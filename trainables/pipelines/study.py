"""The study's pipeline: resize 32 → 28, greyscale, flip both ways.

It is written in plain PyTorch because importing torchvision costs every process 2.5 s. A test holds
it equal, bit for bit, to the same four transforms of `torchvision.transforms.v2` on float32 images.
"""

from torch import Tensor
from torch.nn.functional import interpolate

from trainables.data.examples import as_float

SIZE = (28, 28)


def reference(images: Tensor) -> Tensor:
    """Resize, grey, flip both ways: (N, 3, 32, 32) uint8 → (N, 1, 28, 28) float32 in [0, 1]."""
    return without_flips(images).flip(-1, -2)


def without_flips(images: Tensor) -> Tensor:
    """Resize and grey only: what a network scores that has learned everything but the flips."""
    resized = interpolate(
        as_float(images), SIZE, mode="bilinear", align_corners=False, antialias=True
    )
    red, green, blue = resized.unbind(dim=-3)
    # ITU-R BT.601 luma, with the rounded weights and the order of additions that torchvision uses
    return red.mul(0.2989).add_(green, alpha=0.587).add_(blue, alpha=0.114).unsqueeze(dim=-3)
