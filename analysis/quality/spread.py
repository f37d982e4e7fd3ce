"""How sure a score is: its interval over the images, its mean and deviation over trainings.

Pages and readers of older tables need it too, so that it is without PyTorch.
"""

import math
import statistics
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

Z95 = 1.959964  # of the normal distribution, two-sided


def wilson(fraction: float, count: int) -> tuple[float, float]:
    """Return the 95 % interval of a fraction of `count` images: Wilson's (1927)."""
    shrunk = 1 + Z95**2 / count
    middle = (fraction + Z95**2 / (2 * count)) / shrunk
    deviation = math.sqrt(fraction * (1 - fraction) / count + Z95**2 / (4 * count**2))
    half = Z95 / shrunk * deviation
    return max(0.0, middle - half), min(1.0, middle + half)


def around_mean(mean: float, sd: float, count: int) -> tuple[float, float]:
    """Return the 95 % interval of a mean over `count` images with the deviation `sd` (n − 1)."""
    half = Z95 * sd / math.sqrt(count)
    return mean - half, mean + half


def over_trainings(scores: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return rows of the scores table with `trainings`, `mean` and `sd` filled in.

    They are over each finalist and its repeats with other seeds; of all other rows, over one.
    """
    rows = list(scores)
    trainings: dict[tuple[object, ...], list[float]] = defaultdict(list)
    for row in rows:
        if row["kind"] == "trial":
            finalist = row["trial"] if row["repeat_of"] is None else row["repeat_of"]
            trainings[_key(row, finalist)].append(row["value"])
    return [row | _over(trainings.get(_key(row, row["trial"]), [row["value"]])) for row in rows]


def _key(row: dict[str, Any], finalist: int | None) -> tuple[object, ...]:
    return finalist, row["split"], row["metric"], row["threshold"]


def _over(values: list[float]) -> dict[str, Any]:
    return {
        "trainings": len(values),
        "mean": statistics.mean(values),
        "sd": statistics.stdev(values) if len(values) > 1 else None,
    }
