"""The reference pipeline, the same without its flips, and the factors of its matrix.

The pipeline is the study's: resize 32 → 28, greyscale, horizontal and vertical flip. It is written in
plain PyTorch because importing torchvision costs every process 2.5 s; a test holds it equal, bit for
bit, to the same four transforms of `torchvision.transforms.v2` on float32 images.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import interpolate

IMAGE_SHAPE = (3, 32, 32)
TARGET_SHAPE = (1, 28, 28)
CHUNK = 1000  # images per call: 10,000 at once are several times slower, since nothing stays in the cache

Pipeline = Callable[[Tensor], Tensor]


def as_float(images: Tensor) -> Tensor:
    """uint8 → float32 in [0, 1], in a new tensor: what the pipeline and every network start from."""
    return images.to(torch.float32).mul_(1 / 255)


def reference(images: Tensor) -> Tensor:
    """Resize, greyscale, flip both ways: (N, 3, 32, 32) uint8 → (N, 1, 28, 28) float32 in [0, 1]."""
    return without_flips(images).flip(-1, -2)


def without_flips(images: Tensor) -> Tensor:
    """Resize and greyscale only: what a network scores that has learned everything but the flips."""
    resized = interpolate(
        as_float(images), TARGET_SHAPE[1:], mode="bilinear", align_corners=False, antialias=True
    )
    red, green, blue = resized.unbind(dim=-3)
    # ITU-R BT.601 luma, with the rounded weights and the order of additions that torchvision uses
    return red.mul(0.2989).add_(green, alpha=0.587).add_(blue, alpha=0.114).unsqueeze(dim=-3)


def make_targets(pipeline: Pipeline, images: Tensor) -> Tensor:
    """Run `pipeline` over (N, 3, 32, 32) uint8 in chunks that fit the cache: (N, 1, 28, 28) float32."""
    targets = torch.empty(len(images), *TARGET_SHAPE)
    for start in range(0, len(images), CHUNK):
        targets[start : start + CHUNK] = pipeline(images[start : start + CHUNK])
    return targets


class Factors(NamedTuple):
    """A separable linear pipeline: `output = rows @ (channels · image) @ columns`."""

    channels: Tensor  # (3,)
    rows: Tensor  # (28, 32)
    columns: Tensor  # (32, 28)


def factors(pipeline: Pipeline) -> Factors:
    """Read the factors off a separable linear pipeline by showing it single lines and channels.

    An image with one white row shows that row's column of `rows`, since every row of `columns.T` sums to
    one (a resize keeps a constant constant); likewise for the columns and the channels.
    """
    row_images = torch.zeros(32, *IMAGE_SHAPE, dtype=torch.uint8)
    row_images[torch.arange(32), :, torch.arange(32), :] = 255
    channel_images = torch.zeros(3, *IMAGE_SHAPE, dtype=torch.uint8)
    channel_images[torch.arange(3), torch.arange(3)] = 255
    white = pipeline(torch.full((1, *IMAGE_SHAPE), 255, dtype=torch.uint8)).mean()
    return Factors(
        channels=pipeline(channel_images).mean(dim=(1, 2, 3)),
        rows=(pipeline(row_images)[:, 0, :, 0] / white).T.contiguous(),
        columns=(pipeline(row_images.transpose(2, 3))[:, 0, 0, :] / white).contiguous(),
    )


def dense_matrix(pipeline: Pipeline) -> Tensor:
    """The matrix of a linear pipeline, (784, 3072): one column per input value, each shown as a single bright one."""
    count = math.prod(IMAGE_SHAPE)
    single = torch.zeros(count, count, dtype=torch.uint8).fill_diagonal_(255)
    return make_targets(pipeline, single.unflatten(1, IMAGE_SHAPE)).flatten(1).T.contiguous()
