"""Pipelines of which it is known whether they are affine, and of which rank."""

import torch
from torch import Tensor
from torch.nn.functional import conv2d, interpolate, pad

from trainables.data.examples import as_float
from trainables.linear import AffineMap, examine
from trainables.pipelines.calling import Pipeline
from trainables.tasks import Task


def task_of(pipeline: Pipeline, side: int = 16, low: float = 0.0, high: float = 1.0) -> Task:
    """The task of a pipeline over images of side × side pixels."""
    channels, height, width = pipeline(torch.zeros(1, 3, side, side, dtype=torch.uint8)).shape[1:]
    return Task(
        input_shape=(3, side, side), output_shape=(channels, height, width), low=low, high=high
    )


def map_of(pipeline: Pipeline, task: Task) -> AffineMap:
    """The map of a pipeline that has one."""
    _, found = examine(pipeline, task)
    assert found is not None
    return found


def filtered(*kernel: tuple[float, ...]) -> Pipeline:
    """Each channel filtered by a 3 × 3 kernel, edges reflected."""
    weights = torch.tensor(kernel, dtype=torch.float32).expand(3, 1, 3, 3)
    return lambda images: conv2d(pad(as_float(images), (1, 1, 1, 1), "reflect"), weights, groups=3)


blurred = filtered((1 / 16, 2 / 16, 1 / 16), (2 / 16, 4 / 16, 2 / 16), (1 / 16, 2 / 16, 1 / 16))
sharpened = filtered((0, -1, 0), (-1, 5, -1), (0, -1, 0))


def coarse_colour(images: Tensor) -> Tensor:
    """Grey as it is, colour at half the resolution, as a JPEG file has it."""
    pixels = as_float(images)
    grey = pixels.mean(dim=1, keepdim=True)
    halved = interpolate(pixels - grey, scale_factor=0.5, mode="area")
    return grey + interpolate(halved, scale_factor=2.0, mode="bilinear")


def inverted(images: Tensor) -> Tensor:
    return 1 - as_float(images)


def normalised(images: Tensor) -> Tensor:
    """Half the size, and numbers around zero."""
    means, deviations = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]])[
        ..., None, None
    ]
    return (interpolate(as_float(images), scale_factor=0.5, mode="area") - means) / deviations


def transposed(images: Tensor) -> Tensor:
    """Rows for columns: affine, and no small sum of Kronecker products."""
    return as_float(images).mT.contiguous()


def with_gamma(images: Tensor) -> Tensor:
    return blurred(images).clamp_min(0) ** 0.45
