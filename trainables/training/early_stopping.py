"""The two early-stopping criteria: `best` counts epochs since the best, `window` looks back a window."""

import math
from collections.abc import Callable

MIN_IMPROVEMENT = 1e-6


def best(losses: list[float], patience: int) -> bool:
    """Whether no loss of the last `patience` epochs is below the best before them by MIN_IMPROVEMENT.

    The best so far moves only when a loss is that much below it, so small steps count once they add up.
    """
    best_loss, best_epoch = math.inf, 0
    for epoch, loss in enumerate(losses, start=1):
        if loss <= best_loss - MIN_IMPROVEMENT:
            best_loss, best_epoch = loss, epoch
    return len(losses) - best_epoch >= patience


def window(losses: list[float], patience: int) -> bool:
    """Whether the loss `patience` epochs ago minus the lowest since is below MIN_IMPROVEMENT."""
    if len(losses) <= patience:
        return False
    return losses[-patience - 1] - min(losses[-patience:]) < MIN_IMPROVEMENT


CRITERIA: dict[str, Callable[[list[float], int], bool]] = {"best": best, "window": window}
