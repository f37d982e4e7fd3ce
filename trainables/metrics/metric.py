"""What a metric is: a number of each image, and whether a high one is good."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from trainables.tasks import Task

# From outputs and targets (N, c, h, w) float32: (N,), NaN where it is not defined
Measure = Callable[[Tensor, Tensor, Task], Tensor]


@dataclass(frozen=True)
class Metric:
    """One metric.

    Attributes:
        name: As `--rank-by` and tables have it.
        measure: `metric.measure(outputs, targets, task)` returns (N,).
        higher_is_better: Which direction is good.
        thresholds: Values from which an output counts as good, lowest first; none where that is
            not counted.
    """

    name: str
    measure: Measure
    higher_is_better: bool
    thresholds: tuple[float, ...] = ()
