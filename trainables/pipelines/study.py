"""The study's pipeline, resize 32 → 28, greyscale, flip both ways; and the targets that one makes.

It is written in plain PyTorch because importing torchvision costs every process 2.5 s. A test holds
it equal, bit for bit, to the same four transforms of `torchvision.transforms.v2` on float32 images.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import interpolate

IMAGE_SHAPE = (3, 32, 32)
TARGET_SHAPE = (1, 28, 28)
CHUNK = 1000  # images per call; 10,000 take several times as long each: nothing stays in the cache

Pipeline = Callable[[Tensor], Tensor]  # (N, 3, 32, 32) uint8 → (N, 1, 28, 28) float32


def as_float(images: Tensor) -> Tensor:
    """Return uint8 images of any shape as float32 in [0, 1], in a new tensor."""
    return images.to(torch.float32).mul_(1 / 255)


def reference(images: Tensor) -> Tensor:
    """Resize, grey, flip both ways: (N, 3, 32, 32) uint8 → (N, 1, 28, 28) float32 in [0, 1]."""
    return without_flips(images).flip(-1, -2)


def without_flips(images: Tensor) -> Tensor:
    """Resize and grey only: what a network scores that has learned everything but the flips."""
    resized = interpolate(
        as_float(images), TARGET_SHAPE[1:], mode="bilinear", align_corners=False, antialias=True
    )
    red, green, blue = resized.unbind(dim=-3)
    # ITU-R BT.601 luma, with the rounded weights and the order of additions that torchvision uses
    return red.mul(0.2989).add_(green, alpha=0.587).add_(blue, alpha=0.114).unsqueeze(dim=-3)


def make_targets(pipeline: Pipeline, images: Tensor) -> Tensor:
    """Run a pipeline over many images, a chunk at a time; shapes are those of Pipeline."""
    return torch.cat([pipeline(part) for part in images.split(CHUNK)])
