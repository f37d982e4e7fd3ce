"""A linear pipeline as what it is: its factors where it is separable, and its matrix."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from trainables.pipelines.calling import Pipeline, make_targets
from trainables.task import STUDY, Shape, Task


def affine_residual(pipeline: Pipeline, task: Task) -> float:
    """Placeholder until the analysis of any pipeline is here."""
    generator = torch.Generator().manual_seed(0)
    size = (2, 16, *task.input_shape)
    one, other = torch.randint(0, 128, size, generator=generator).mul(2).to(torch.uint8)
    middle = one // 2 + other // 2
    apart = pipeline(middle) - (pipeline(one) + pipeline(other)) / 2
    return float(apart.abs().max()) / task.span


class Factors(NamedTuple):
    """A separable linear pipeline: `output = rows @ (channels · image) @ columns`."""

    channels: Tensor  # (3,)
    rows: Tensor  # (height of an output, height of an image)
    columns: Tensor  # (width of an image, width of an output)


def factors(pipeline: Pipeline, input_shape: Shape = STUDY.input_shape) -> Factors:
    """Read the factors off a separable linear pipeline by showing it single lines and channels.

    An image with one white row shows that row's column of `rows`, since every row of `columns.T`
    sums to one (a resize keeps a constant constant); likewise for the columns and the channels.
    """
    channels, height, width = input_shape
    row_images = torch.zeros(height, *input_shape, dtype=torch.uint8)
    row_images[torch.arange(height), :, torch.arange(height), :] = 255
    column_images = torch.zeros(width, *input_shape, dtype=torch.uint8)
    column_images[torch.arange(width), :, :, torch.arange(width)] = 255
    channel_images = torch.zeros(channels, *input_shape, dtype=torch.uint8)
    channel_images[torch.arange(channels), torch.arange(channels)] = 255
    white = pipeline(torch.full((1, *input_shape), 255, dtype=torch.uint8)).mean()
    return Factors(
        channels=pipeline(channel_images).mean(dim=(1, 2, 3)),
        rows=(pipeline(row_images)[:, 0, :, 0] / white).T.contiguous(),
        columns=(pipeline(column_images)[:, 0, 0, :] / white).contiguous(),
    )


def dense_matrix(pipeline: Pipeline, input_shape: Shape = STUDY.input_shape) -> Tensor:
    """Return the matrix of a linear pipeline: outputs × inputs, for the study (784, 3072).

    It has a column for each input value, which is shown as the single bright one of an image.
    """
    count = math.prod(input_shape)
    single = torch.zeros(count, count, dtype=torch.uint8).fill_diagonal_(255)
    return make_targets(pipeline, single.unflatten(1, input_shape)).flatten(1).T.contiguous()
