"""Floors and ceilings of any task: what costs nothing, and what nothing can pass."""

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from trainables.best_affine import best_affine
from trainables.data.examples import Examples, Splits, as_float
from trainables.linear import AffineMap
from trainables.pipelines.calling import CHUNK
from trainables.tasks import Task

Outputs = Iterable[Tensor]
"""Outputs of a split in the order of its images, some at a time: (n, c, h, w) float32 each."""

LUMA = (0.2989, 0.587, 0.114)  # ITU-R BT.601 as torchvision rounds it
SAME_WITHIN = 1e-4  # of the range


def floors(
    data: Splits, affine: AffineMap | None, nearest: AffineMap | None = None
) -> dict[str, Outputs]:
    """Return what a network has to beat on the test split, by name.

    These are an image of the training targets' mean colour, their mean image, the resized input,
    the pipeline without one of its steps, and the best affine map of a pipeline that is none. The
    resized input is left out where a step is missing to the same effect.

    Args:
        data: Training images with targets, test images, and what is made of these without a step.
        affine: The pipeline as its own map; None where there is none.
        nearest: The best affine map of one that has none, where it was found already.
    """
    task, parts = data.task, data.test.images.split(CHUNK)
    mean_image = data.train.targets.mean(dim=0)
    flat_image = torch.stack([channel.mean().expand_as(channel) for channel in mean_image])
    found: dict[str, Outputs] = {
        "flat image": (flat_image.expand(len(part), *task.output_shape) for part in parts),
        "mean image": (mean_image.expand(len(part), *task.output_shape) for part in parts),
    }
    resized = resized_input(parts[0], task)
    if not any(_same(outputs[:CHUNK], resized, task) for outputs in data.without.values()):
        found["resized input"] = (resized_input(part, task) for part in parts)
    for step, outputs in data.without.items():
        if not _same(outputs, data.test.targets, task):  # else the step does nothing, as ToTensor
            found[f"pipeline without {step}"] = outputs.split(CHUNK)
    if affine is None:
        nearest = nearest or best_affine(data.train.images, data.train.targets, task)
        found["best affine map"] = map(nearest, parts)
    return found


def ceilings(task: Task, test: Examples, affine: AffineMap | None) -> dict[str, Outputs]:
    """Return what no network can pass on the test split, by name.

    An affine pipeline's own map loses the rounding of float32 alone, if it was found to be exact.
    Of any other pipeline it is the targets themselves, rounded to 256 levels of its range.
    """
    if affine is not None:
        return {"pipeline's own matrix": map(affine, test.images.split(CHUNK))}
    return {"own output in 8 bits": (in_8_bits(part, task) for part in test.targets.split(CHUNK))}


def resized_input(images: Tensor, task: Task) -> Tensor:
    """Return images (N, 3, H, W) uint8 in the size, the channels and the range of a task's outputs.

    Three channels stay as they are; any other number is that often the grey.
    """
    channels, *size = task.output_shape
    resized = interpolate(
        as_float(images), size, mode="bilinear", align_corners=False, antialias=True
    )
    if channels != 3:
        grey = torch.tensordot(resized, resized.new_tensor(LUMA), dims=([1], [0]))
        resized = grey.unsqueeze(1).expand(-1, channels, -1, -1)
    return resized * task.span + task.low


def in_8_bits(outputs: Tensor, task: Task) -> Tensor:
    """Return outputs rounded to 256 levels from the lowest to the highest value of the task."""
    levels = ((outputs - task.low) * (255 / task.span)).round().clamp(0, 255)
    return levels * (task.span / 255) + task.low


def _same(outputs: Tensor, others: Tensor, task: Task) -> bool:
    return bool((outputs - others).abs().max() <= SAME_WITHIN * task.span)
