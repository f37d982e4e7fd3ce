"""What a network sees: the input pixels that an output pixel depends on, found from gradients."""

import torch
from torch import Tensor, nn

from trainables.linear import Factors
from trainables.pipelines.study import IMAGE_SHAPE, TARGET_SHAPE

PROBES = 3  # random inputs: a ReLU that is shut for one is open for another
GRID = range(0, 28, 3)  # 100 of the 784 output pixels


def dependence(network: nn.Module, row: int, column: int) -> Tensor:
    """Return the input pixels that output pixel (row, column) depends on: (32, 32) bool."""
    device = next(network.parameters()).device
    images = torch.rand(PROBES, *IMAGE_SHAPE, device=device, requires_grad=True)
    was_training = network.training
    outputs = network.eval()(images)
    network.train(was_training)
    (gradient,) = torch.autograd.grad(outputs[:, 0, row, column].sum(), images)
    return gradient.abs().sum(dim=(0, 1)) > 0


def receptive_field(network: nn.Module) -> tuple[int, int]:
    """Return height and width, in pixels, of the input window that the middle output depends on."""
    seen = dependence(network, TARGET_SHAPE[1] // 2, TARGET_SHAPE[2] // 2)
    rows, columns = seen.any(dim=1).nonzero(), seen.any(dim=0).nonzero()
    return int(rows.max() - rows.min() + 1), int(columns.max() - columns.min() + 1)


def fraction_in_sight(network: nn.Module, pipeline: Factors) -> float:
    """Return for how many output pixels the network sees the input pixel that matters most.

    That is the one of the largest weight in the pipeline. Checked on a grid of 100 output pixels;
    1.0 means that training can in principle succeed.
    """
    sources = pipeline.rows.abs().argmax(dim=1), pipeline.columns.abs().argmax(dim=0)
    seen = [
        bool(dependence(network, r, c)[sources[0][r], sources[1][c]]) for r in GRID for c in GRID
    ]
    return sum(seen) / len(seen)
