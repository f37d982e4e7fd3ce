"""What a network sees: the input pixels that an output pixel depends on, found by occluding some.

Parts of images are replaced by noise, and outputs are compared: whatever a network does inside. A
pixel whose weight is too small for that is asked about by its gradient.
"""

import math
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from trainables.linear import AffineMap
from trainables.networks.base import device_of
from trainables.tasks import Task

PROBES = 4  # random images: a ReLU that is shut for one is open for another
CHANGED = 1e-6  # of the largest output: less is rounding, which may differ from batch to batch
PIXELS_AT_ONCE = 2**18  # of the images that go through a network together
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


class Occlusion:
    """A network's outputs for random images, and whether they change where pixels are replaced.

    Args:
        network: Any; its outputs for one image must not depend on others. It is used in eval mode,
            and left in the mode in which it was.
        task: What it was built for.
    """

    def __init__(self, network: nn.Module, task: Task) -> None:
        generator = torch.Generator().manual_seed(0)
        probes = torch.rand(2, PROBES, *task.input_shape, generator=generator)
        self._network = network
        self._images, self._noise = probes.to(device_of(network))
        self._at_once = max(1, PIXELS_AT_ONCE // math.prod(task.input_shape[1:]))
        self._outputs = [self._run(image[None].clone()) for image in self._images]

    def changes(self, rows: Tensor, columns: Tensor, occluded: Tensor) -> Tensor:
        """Say of output pixels whether they change when pixels of the input become noise.

        They are asked about one image after the other, until they change.

        Args:
            rows: (K,) int64, of the output pixels.
            columns: Likewise.
            occluded: (K, H, W) bool, the pixels of an input that are replaced for each of them.

        Returns:
            (K,) bool.
        """
        seen = torch.zeros(len(rows), dtype=torch.bool)
        for image, noise, whole in zip(self._images, self._noise, self._outputs, strict=True):
            least = CHANGED * whole.abs().max()
            for part in (~seen).nonzero().flatten().split(self._at_once):
                covered = occluded[part, None].to(image.device)
                outputs = self._run(torch.where(covered, noise, image))
                there = torch.arange(len(part)), slice(None), rows[part], columns[part]
                differences = (outputs - whole)[there].abs().amax(dim=1)
                seen[part] = (differences > least).cpu()
        return seen

    @torch.no_grad()
    def _run(self, images: Tensor) -> Tensor:
        was_training = self._network.training
        outputs: Tensor = self._network.eval()(images)
        self._network.train(was_training)
        return outputs


def receptive_field(network: nn.Module, task: Task) -> tuple[int, int] | None:
    """Return height and width, in pixels, of the input window that the middle output depends on.

    None where it depends on none. Bisection finds the sides of the window: how many lines of the
    image must be occluded, from its edge on, until the output changes.
    """
    row, column = (torch.tensor([side // 2]) for side in task.output_shape[1:])
    height, width = task.input_shape[1:]
    occlusion = Occlusion(network, task)

    def sees(occluded: Tensor) -> bool:
        return bool(occlusion.changes(row, column, occluded.expand(1, height, width)))

    if not sees(torch.tensor(True)):
        return None
    return (
        _span(height, lambda lines: sees(lines[:, None])),
        _span(width, lambda lines: sees(lines)),
    )


def _span(count: int, sees: Callable[[Tensor], bool]) -> int:
    """Return how many of so many lines lie between the first and the last that are seen.

    Args:
        count: Lines, at least one of which is seen.
        sees: Says whether occluding lines, (count,) bool, changes anything.
    """
    line = torch.arange(count)
    # So many must be occluded from one end on until something changes: all, where fewer don't
    from_first = bisect_left(range(count), True, key=lambda few: sees(line < few))
    from_last = bisect_left(range(count), True, key=lambda few: sees(line >= count - few))
    return count + 2 - from_first - from_last


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
    sources = strongest_inputs(affine, task, rows, columns)
    occluded = torch.zeros(len(rows), *task.input_shape[1:], dtype=torch.bool)
    occluded[torch.arange(len(rows)), *sources] = True
    seen = Occlusion(network, task).changes(rows, columns, occluded)
    unseen = (~seen).nonzero().flatten()
    if len(unseen):
        seen[unseen] = _has_gradient(
            network, task, rows[unseen], columns[unseen], sources[:, unseen]
        )
    return float(seen.double().mean())


def _has_gradient(
    network: nn.Module, task: Task, rows: Tensor, columns: Tensor, sources: Tensor
) -> Tensor:
    """Say of output pixels whether they have a gradient towards a pixel of the input.

    A weight of 1e-7 is too small for a change of its pixel to show in float32, and training can
    raise it. No pixel has one where autograd finds no way through the network.

    Args:
        network: As `Occlusion` takes it.
        task: Likewise.
        rows: (K,) int64, of the output pixels.
        columns: Likewise.
        sources: (2, K) int64, rows and columns of the input pixels.

    Returns:
        (K,) bool.
    """
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(len(rows), *task.input_shape, generator=generator).to(device_of(network))
    images.requires_grad_()
    each = torch.arange(len(rows))
    was_training = network.training
    try:
        outputs = network.eval()(images)[each, :, rows, columns]
        (gradient,) = torch.autograd.grad(outputs.sum(), images)
    except Exception:  # of a network that looks values up, or of one of a person's own
        return torch.zeros(len(rows), dtype=torch.bool)
    finally:
        network.train(was_training)
    found: Tensor = gradient[each, :, *sources].abs().amax(dim=1) > 0
    return found.cpu()


def sight(network: nn.Module, task: Task, affine: AffineMap) -> Sight | None:
    """Return what a network sees of what it would have to copy; None where it sees nothing."""
    window = receptive_field(network, task)
    return None if window is None else Sight(fraction_in_sight(network, task, affine), *window)
