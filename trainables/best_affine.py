"""The best affine map of a pipeline that is none: a bar to beat, found from training targets."""

from dataclasses import replace

import torch
from torch import Tensor

from trainables.data.examples import as_float
from trainables.kronecker import Factors, fit, resize_columns
from trainables.linear import AffineMap
from trainables.tasks import Task

MOST_NUMBERS = 2**23  # in the images that are used: 2,730 of 3 × 32 × 32
MOST_INPUTS = 4096  # for which a matrix is tried
HELD_OUT = 5  # every fifth image compares the maps that were fitted to the others
RIDGES = (1e-4, 1e-3, 1e-2)  # as shares of the mean square; photographs are much alike
SWEEPS = 6  # from the resize on; more fit what these images alone have


def best_affine(images: Tensor, targets: Tensor, task: Task) -> AffineMap:
    """Return the affine map that comes nearest to the targets of images.

    Candidates are one Kronecker product, by alternating least squares from the resize on, and the
    same with a matrix added, by ridge regression on what the product leaves. The one with the least
    squared error on every fifth image, which none was fitted to, is returned. The same images give
    the same map.

    Args:
        images: Training images (N, 3, H, W) uint8, at least two; some 2,700 of 32 × 32 are used.
        targets: Theirs, (N, c, h, w) float32.
        task: Its shapes and its range.
    """
    count = max(2, min(len(images), MOST_NUMBERS // task.input_size))
    inputs, wanted = as_float(images[:count]), targets[:count]
    held_out = torch.arange(count) % HELD_OUT == 1
    candidates = _candidates(inputs[~held_out].double(), wanted[~held_out].double(), task)
    unseen, truth = inputs[held_out], wanted[held_out]

    def squared_error(candidate: AffineMap) -> float:
        return float((candidate.on_floats(unseen) - truth).square().mean())

    best = min(candidates, key=squared_error)
    error = float((best.on_floats(unseen) - truth).abs().max()) / task.span
    return replace(best, error=error)


def resize(task: Task) -> Factors:
    """Return the float64 map that resizes, from which most pipelines are not far.

    Where an output has not the channels of an image, each is their mean.
    """
    (taken, height, width), (made, high, wide) = task.input_shape, task.output_shape
    same = torch.eye(made, dtype=torch.float64)
    channels = same if made == taken else same.new_full((made, taken), 1 / taken)
    return Factors(channels, resize_columns(height, high).mT, resize_columns(width, wide))


def _candidates(inputs: Tensor, wanted: Tensor, task: Task) -> list[AffineMap]:
    """Return the maps that are compared; images and targets are float64."""
    mean_input, mean_output = inputs.mean(dim=0), wanted.mean(dim=0)
    inputs, wanted = inputs - mean_input, wanted - mean_output
    # From noise a search for the product that fits a few large images ends far from that of others
    begun = resize(task).channels, resize(task).columns
    (product,) = fit(inputs, wanted, rank=1, ridge=RIDGES[1], begun=[begun], sweeps=SWEEPS)

    def on_black(linear: Tensor) -> Tensor:
        """Return the offset that goes with what the linear part makes of the mean input."""
        return (mean_output - linear.view(mean_output.shape)).float()

    term = Factors(*(part.float() for part in product))
    maps = [AffineMap(offset=on_black(product(mean_input[None])), terms=(term,))]
    if task.input_size > MOST_INPUTS:
        return maps
    flat, left = inputs.flatten(1), (wanted - product(inputs)).flatten(1)
    # There are fewer images than inputs, so this is the smaller of the two forms of the problem
    gram = flat @ flat.T
    every = torch.eye(len(gram), dtype=gram.dtype)
    for ridge in RIDGES:
        penalty = ridge * gram.diagonal().mean() + torch.finfo(gram.dtype).tiny
        weights = torch.linalg.solve(gram + penalty * every, left)
        dense = product.matrix() + weights.T @ flat
        offset = on_black(dense @ mean_input.flatten())
        maps.append(AffineMap(offset=offset, dense=dense.float()))
    return maps
