"""Learning-rate schedules: what share of a trial's learning rate each of its updates has.

The share follows from the number of the update alone. So there is no state to save, and a resumed
training has the rates of one that was never interrupted.
"""

import math
from collections.abc import Callable, Mapping

CONSTANT = "constant"
"""The schedule of a rate that stays as it is, which needs no function."""
RISES_FOR = 0.3  # of all updates
STARTS_AT = 1 / 25  # of the learning rate
ENDS_AT = STARTS_AT / 1e4


def cosine(update: int, updates: int) -> float:
    """Return the share that falls along half a cosine, from 1 to nearly 0.

    Loshchilov and Hutter 2017, "SGDR: stochastic gradient descent with warm restarts", here without
    restarts: `(1 + cos(π update / updates)) / 2`, as PyTorch's CosineAnnealingLR has it.

    Args:
        update: Number of the update, from 0.
        updates: How many the whole training has, all epochs together.
    """
    return (1 + math.cos(math.pi * update / updates)) / 2


def one_cycle(update: int, updates: int) -> float:
    """Return the share that rises from STARTS_AT to 1, then falls to ENDS_AT, by half cosines.

    Smith and Topin 2018, "Super-convergence: very fast training of neural networks using large
    learning rates", with the defaults of PyTorch's OneCycleLR. Adam's first beta stays as it is,
    which OneCycleLR would move against the rate.

    Args:
        update: Number of the update, from 0.
        updates: How many the whole training has, all epochs together.
    """
    top, last = RISES_FOR * updates - 1, updates - 1
    if update <= top:
        return _between(STARTS_AT, 1.0, update / top)
    return _between(1.0, ENDS_AT, (update - top) / (last - top))


def _between(start: float, end: float, part: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * part)) / 2


FALLING: Mapping[str, Callable[[int, int], float]] = {"cosine": cosine, "one-cycle": one_cycle}
"""Schedules at whose end the rate is nearly 0."""
SCHEDULES = (CONSTANT, *FALLING)
