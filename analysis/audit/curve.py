"""The curve of a trial that was trained in full, as schedulers hear of it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate


@dataclass(frozen=True)
class Curve:
    """A trial that was trained in full; lower is better.

    Attributes:
        reached: What it had reached after each epoch; NaN after one in which it diverged.
        epoch_sec: What each epoch took, in seconds.
    """

    reached: Sequence[float]
    epoch_sec: Sequence[float]

    @cached_property
    def best(self) -> list[float]:
        """The best that it had reached up to each epoch; NaN after one in which it diverged."""
        lowest = accumulate(self.reached, min)  # of a best and NaN, the best
        return [
            math.nan if math.isnan(one) else best
            for one, best in zip(self.reached, lowest, strict=True)
        ]

    @cached_property
    def averages(self) -> list[float]:
        """The mean of what it had reached up to each epoch."""
        numbered = enumerate(self.reached, start=1)
        steps = accumulate(
            numbered, lambda mean, one: (one[0], mean[1] + (one[1] - mean[1]) / one[0])
        )
        return [mean for _, mean in steps]

    @cached_property
    def end(self) -> float:
        """What it reaches if nothing stops it; infinity where it reaches nothing."""
        return min((one for one in self.reached if not math.isnan(one)), default=math.inf)
