"""What a network sees: the input pixels that an output pixel depends on, found from gradients."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from trainables.linear import AffineMap
from trainables.tasks import Task

PROBES = 3  # random inputs: a ReLU that is shut for one is open for another
TIE_WITHIN = 1e-4  # of the largest weight
GRID = 10  # of the rows and of the columns of an output, so many are looked at


@dataclass(frozen=True)
class Sight:
    """What a network sees of its input.

    Attributes:
        fraction: Of the output pixels, those for which it sees the input pixel that matters most.
        height: Of the window that the middle output pixel depends on, in pixels.
        width: Likewise.
    """

    fraction: float
    height: int
    width: int


def dependence(network: nn.Module, task: Task, rows: Tensor, columns: Tensor) -> Tensor:
    """Return the input pixels that each output pixel (row, column) depends on.

    All go through the network in one batch. A network that autograd can't follow back to its input,
    such as a look-up in a table, depends on nothing that can be found so.

    Args:
        network: Any; its outputs for one image must not depend on others.
        task: What it was built for.
        rows: (K,) int64.
        columns: Likewise.

    Returns:
        (K, height, width) of an input, bool.
    """
    device = next(network.parameters()).device
    count = len(rows) * PROBES
    images = torch.rand(count, *task.input_shape, device=device, requires_grad=True)
    was_training = network.training
    outputs = network.eval()(images)
    network.train(was_training)
    probed = torch.arange(count), 0, *(one.repeat_interleave(PROBES) for one in (rows, columns))
    (gradient,) = torch.autograd.grad(outputs[probed].sum(), images, materialize_grads=True)
    seen: Tensor = gradient.abs().sum(dim=1).unflatten(0, (-1, PROBES)).sum(dim=1) > 0
    return seen.cpu()


def receptive_field(network: nn.Module, task: Task) -> tuple[int, int] | None:
    """Return height and width, in pixels, of the input window that the middle output depends on.

    None where that can't be found.
    """
    middle = (torch.tensor([side // 2]) for side in task.output_shape[1:])
    (seen,) = dependence(network, task, *middle)
    if not seen.any():
        return None
    rows, columns = seen.any(dim=1).nonzero(), seen.any(dim=0).nonzero()
    return int(rows.max() - rows.min() + 1), int(columns.max() - columns.min() + 1)


def strongest_inputs(affine: AffineMap, task: Task, rows: Tensor, columns: Tensor) -> Tensor:
    """Return the input pixel that has the largest weight in each output pixel (row, column).

    Weights of a pixel's channels are added, without their signs. The first of equal ones counts,
    whatever rounding makes of them.

    Args:
        affine: A pipeline, on the CPU.
        task: Its shapes.
        rows: (K,) int64.
        columns: Likewise.

    Returns:
        (2, K) int64: their rows and columns.
    """
    images = torch.zeros(len(rows), *task.input_shape, requires_grad=True)
    outputs = affine.on_floats(images)[torch.arange(len(rows)), 0, rows, columns]
    (gradient,) = torch.autograd.grad(outputs.sum(), images)
    weights = gradient.abs().sum(dim=1).flatten(1)
    largest = weights >= (1 - TIE_WITHIN) * weights.amax(dim=1, keepdim=True)
    first = largest.int().argmax(dim=1)
    width = task.input_shape[2]
    return torch.stack([first // width, first % width])


def fraction_in_sight(network: nn.Module, task: Task, affine: AffineMap) -> float:
    """Return for how many output pixels the network sees the input pixel that matters most.

    That is the one of the largest weight in the pipeline. Checked on a grid of at most 100 output
    pixels; 1.0 means that training can in principle succeed.
    """
    lines = (torch.arange(0, side, math.ceil(side / GRID)) for side in task.output_shape[1:])
    rows, columns = (part.flatten() for part in torch.meshgrid(*lines, indexing="ij"))
    seen = dependence(network, task, rows, columns)
    source_rows, source_columns = strongest_inputs(affine, task, rows, columns)
    in_sight = seen[torch.arange(len(rows)), source_rows, source_columns]
    return float(in_sight.double().mean())


def sight(network: nn.Module, task: Task, affine: AffineMap) -> Sight | None:
    """Return what a network sees of what it would have to copy; None where that can't be found."""
    window = receptive_field(network, task)
    return None if window is None else Sight(fraction_in_sight(network, task, affine), *window)
