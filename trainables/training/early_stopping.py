"""The two early-stopping criteria: `best` counts epochs since the best, `window` looks back."""

import math
from collections.abc import Callable

MIN_IMPROVEMENT = 1e-6


def best(losses: list[float], patience: int) -> bool:
    """Tell whether no loss of the last `patience` epochs is MIN_IMPROVEMENT below the best before.

    The best so far moves only when a loss is that much below it, so small steps count once they add
    up.
    """
    best_loss, best_epoch = math.inf, 0
    for epoch, loss in enumerate(losses, start=1):
        if loss <= best_loss - MIN_IMPROVEMENT:
            best_loss, best_epoch = loss, epoch
    return len(losses) - best_epoch >= patience


def window(losses: list[float], patience: int) -> bool:
    """Tell whether no loss since is MIN_IMPROVEMENT below that of `patience` epochs ago."""
    if len(losses) <= patience:
        return False
    return losses[-patience - 1] - min(losses[-patience:]) < MIN_IMPROVEMENT


# By name: from the validation losses so far, one an epoch, and the patience in epochs
CRITERIA: dict[str, Callable[[list[float], int], bool]] = {"best": best, "window": window}
