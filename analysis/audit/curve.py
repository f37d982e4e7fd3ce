"""The curve of a trial that was trained in full, as schedulers hear of it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property


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
        best, found = math.inf, []
        for reached in self.reached:
            if reached < best:  # which NaN is not
                best = reached
            found.append(math.nan if math.isnan(reached) else best)
        return found

    @cached_property
    def averages(self) -> list[float]:
        """The mean of what it had reached up to each epoch."""
        mean, found = 0.0, []
        for epoch, reached in enumerate(self.reached, start=1):
            mean += (reached - mean) / epoch  # rounded as the search rounds it
            found.append(mean)
        return found

    @cached_property
    def end(self) -> float:
        """What it reaches if nothing stops it; infinity where it reaches nothing."""
        return min((one for one in self.reached if not math.isnan(one)), default=math.inf)
