"""Rules by which schedulers stop trials early, as a replay of recorded curves asks them.

Lower values are better. A value is the best that a trial has reached so far, as the search reports
it; it is NaN where the trial has diverged.
"""

import math
from bisect import insort
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from analysis.audit.curve import Curve

FEWEST_OTHERS = 3  # without which the median rule stops nobody; Ray's own asks for as many


class Rule:
    """Lets every trial come to its end; others decide otherwise."""

    def goes_on(self, trial: int, epoch: int, value: float) -> bool:
        """Take what a trial has reached after an epoch, from 1; say whether it goes on now."""
        return True

    def resumed(self) -> int | None:
        """Return a trial that goes on where it was left, now that a slot is free; None for none."""
        return None


class StoppingAsha(Rule):
    """ASHA as Ray has it: at each rung a trial is compared with those that were there before it.

    Li et al. 2020, "A system for massively parallel hyperparameter tuning", and the variant of it
    that stops trials instead of pausing them. Rungs are at `grace · factor^k` epochs; a trial goes
    on that is no worse than the quantile 1 / factor of the values recorded there.

    Args:
        max_epochs: Epochs of a trial that nothing stops.
        grace: Epochs before a trial may be stopped.
        factor: One trial in this many goes on.
    """

    def __init__(self, max_epochs: int, grace: int, factor: int) -> None:
        self._quantile = (1 - 1 / factor) * 100 / 100  # rounded as Ray's way to numpy rounds it
        self._rungs: dict[int, list[float]] = {
            epoch: [] for epoch in rungs(max_epochs, grace, factor)
        }

    def goes_on(self, trial: int, epoch: int, value: float) -> bool:
        if epoch not in self._rungs or math.isnan(value):
            return True
        rung = self._rungs[epoch]
        reward = -value
        goes_on = not rung or reward >= _quantile(rung, self._quantile)
        insort(rung, reward)
        return goes_on


def rungs(max_epochs: int, grace: int, factor: int) -> list[int]:
    """Return the epochs at which ASHA decides, as Ray counts them; after the last epoch none is."""
    count = int(np.log(max_epochs / grace) / np.log(factor) + 1)
    return [epoch for k in range(count) if (epoch := grace * factor**k) < max_epochs]


def _quantile(ordered: Sequence[float], quantile: float) -> float:
    """Return what `np.nanpercentile` does, to the last digit, of numbers in ascending order."""
    place = quantile * (len(ordered) - 1)
    before = int(place)
    if before + 1 >= len(ordered):
        return ordered[-1]
    low, high, part = ordered[before], ordered[before + 1], place - before
    if part >= 0.5:
        return high - (high - low) * (1 - part)
    return low + (high - low) * part


class PromotingAsha(Rule):
    """ASHA as Li et al. 2020 have it: a trial pauses at each rung until it is among the best there.

    A free slot goes to the best paused trial of the highest rung that is among the best `1 /
    factor` of that rung, else to a new trial.

    Args:
        max_epochs, grace, factor: As `StoppingAsha` has them.
    """

    def __init__(self, max_epochs: int, grace: int, factor: int) -> None:
        self._factor = factor
        self._rungs: dict[int, list[tuple[float, int]]] = {
            epoch: [] for epoch in rungs(max_epochs, grace, factor)
        }
        self._promoted: dict[int, set[int]] = defaultdict(set)  # by rung

    def goes_on(self, trial: int, epoch: int, value: float) -> bool:
        if epoch not in self._rungs or math.isnan(value):
            return True
        insort(self._rungs[epoch], (value, trial))
        return False

    def resumed(self) -> int | None:
        for epoch, rung in reversed(self._rungs.items()):
            for _, trial in rung[: len(rung) // self._factor]:
                if trial not in self._promoted[epoch]:
                    self._promoted[epoch].add(trial)
                    return trial
        return None


class Median(Rule):
    """The median stopping rule, as the search has it.

    Golovin et al. 2017, "Google Vizier: a service for black-box optimization", section 3.2.2. A
    trial is stopped whose best is worse than the median, over the others that have come as far, of
    the mean of what each had reached up to there.

    Args:
        curves: The trials.
        grace: Epochs before a trial may be stopped.
    """

    def __init__(self, curves: Sequence[Curve], grace: int) -> None:
        self._curves, self._grace = curves, grace
        self._averages: dict[int, list[float]] = defaultdict(list)  # by epoch, in ascending order

    def goes_on(self, trial: int, epoch: int, value: float) -> bool:
        if math.isnan(value):
            return True
        others = self._averages[epoch]
        is_early = epoch < self._grace or len(others) < FEWEST_OTHERS
        goes_on = is_early or value <= _quantile(others, 0.5)
        insort(others, self._curves[trial].averages[epoch - 1])
        return goes_on


class Oracle(Rule):
    """Knows how each trial will end: all but those that beat every trial before have one epoch.

    Args:
        curves: The trials.
    """

    def __init__(self, curves: Sequence[Curve]) -> None:
        self._ends = [curve.end for curve in curves]
        self._best = math.inf

    def goes_on(self, trial: int, epoch: int, value: float) -> bool:
        goes_on = epoch > 1 or self._ends[trial] < self._best
        self._best = min(self._best, self._ends[trial])
        return goes_on
