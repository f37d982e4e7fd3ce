"""A metric of one's own: a function of outputs and targets, which returns a number of each image.

    python -m tuner.run --metric examples/own_metric.py:worst_pixel --rank-by worst_pixel

A high number is a good one, unless the function says otherwise.
"""

from torch import Tensor


def worst_pixel(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the largest error of each image: (N, c, h, w) twice → (N,)."""
    return (outputs - targets).abs().flatten(1).amax(dim=1)


worst_pixel.higher_is_better = False
