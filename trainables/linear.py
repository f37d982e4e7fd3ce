"""A linear pipeline as what it is: its factors where it is separable, and its matrix."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from trainables.pipelines.study import IMAGE_SHAPE, Pipeline, make_targets


class Factors(NamedTuple):
    """A separable linear pipeline: `output = rows @ (channels · image) @ columns`."""

    channels: Tensor  # (3,)
    rows: Tensor  # (28, 32)
    columns: Tensor  # (32, 28)


def factors(pipeline: Pipeline) -> Factors:
    """Read the factors off a separable linear pipeline by showing it single lines and channels.

    An image with one white row shows that row's column of `rows`, since every row of `columns.T`
    sums to one (a resize keeps a constant constant); likewise for the columns and the channels.
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
    """Return the matrix of a linear pipeline, (784, 3072).

    It has a column for each input value, which is shown as the single bright one of an image.
    """
    count = math.prod(IMAGE_SHAPE)
    single = torch.zeros(count, count, dtype=torch.uint8).fill_diagonal_(255)
    return make_targets(pipeline, single.unflatten(1, IMAGE_SHAPE)).flatten(1).T.contiguous()
