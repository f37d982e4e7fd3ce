"""Searches replayed on recorded curves, and what they have found after so many epochs."""

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import optuna
from optuna.trial import FrozenTrial, TrialState, create_trial

from analysis.audit.curve import Curve
from analysis.audit.findings import Scheduler
from analysis.audit.replay import replay
from analysis.tables.parameters import distribution
from benchmarks.recorded_curves import Curves
from trainables.hyperparameters import Parameter
from trainables.training import early_stopping

optuna.logging.set_verbosity(optuna.logging.ERROR)
warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
Floats = npt.NDArray[np.float64]

AT_ONCE = 2
RESAMPLES = 2000


@dataclass(frozen=True)
class Searcher:
    """How configurations are proposed.

    Attributes:
        multivariate, startup: Of Optuna's TPE, whose first `startup` proposals are random; None for
            random search.
    """

    multivariate: bool = False
    startup: int | None = None

    def __str__(self) -> str:
        if self.startup is None:
            return "random"
        return f"tpe{', multivariate' if self.multivariate else ''}, {self.startup} at random"


def trials_of(curves: Curves) -> list[Curve]:
    """Return a recording's trials as a scheduler hears of them, each ended by its own patience."""
    trials = []
    for chosen, losses, sec in zip(curves.chosen, curves.losses, curves.epoch_sec, strict=True):
        patience = chosen.get("patience", math.inf)
        waits = (e for e in range(1, len(losses)) if early_stopping.best(losses[:e], patience))
        kept = losses[: next(waits, len(losses))]
        trials.append(Curve(kept, [sec] * len(kept)))
    return trials


def search(
    curves: Curves,
    trials: Sequence[Curve],
    searcher: Searcher,
    scheduler: Scheduler,
    seed: int,
    budgets: Sequence[int],
) -> list[float]:
    """Return the lowest loss that a search has found after each of these numbers of epochs.

    Args:
        curves: The recording.
        trials: Its trials, as `trials_of` returns them.
        searcher, scheduler: Of the search.
        seed: Of the search.
        budgets: Epochs over all trials, in ascending order.
    """
    proposals = Proposals(curves, trials, searcher, seed)
    best, found = math.inf, []
    reports = replay(trials, proposals, scheduler.rule(trials), AT_ONCE)
    for spent, report in enumerate(reports, start=1):
        value = trials[report.trial].best[report.epoch - 1]
        if value < best:  # which NaN is not
            best = value
        if spent == budgets[len(found)]:
            found.append(best)
            if len(found) == len(budgets):
                return found
        if not report.goes_on:
            proposals.tell(report.trial, report.epoch)
    return [*found, *[best] * (len(budgets) - len(found))]  # nothing was left to try


class Proposals(Iterator[int]):
    """Which trial comes next: never one that came before.

    TPE's proposal takes the nearest configuration that is left. TPE is told of that one, as if it
    had proposed it, and how it ended as a search tells it.
    """

    def __init__(
        self, curves: Curves, trials: Sequence[Curve], searcher: Searcher, seed: int
    ) -> None:
        self._chosen, self._trials, self._space = curves.chosen, trials, curves.space
        self._left = np.random.default_rng(seed).permutation(len(trials)).tolist()
        self._study = None if searcher.startup is None else study_of(searcher, seed)
        self._points = [unit(chosen, self._space) for chosen in self._chosen]
        self._distributions = {name: distribution(one) for name, one in self._space.items()}
        self._running: dict[int, FrozenTrial] = {}

    def __next__(self) -> int:
        if not self._left:
            raise StopIteration
        if self._study is None:
            return self._left.pop()
        proposed = self._study.ask(self._distributions)
        self._study.tell(proposed, state=TrialState.FAIL)  # another takes its place
        wanted = unit(proposed.params, self._space)
        nearest = min(self._left, key=lambda trial: distance(self._points[trial], wanted))
        self._left.remove(nearest)
        # Put there as it runs: asking for it by `enqueue_trial` would draw another proposal first
        self._study.add_trial(
            create_trial(
                state=TrialState.RUNNING,
                params=self._chosen[nearest],
                distributions=self._distributions,
            )
        )
        self._running[nearest] = self._study.get_trials(deepcopy=False)[-1]
        return nearest

    def tell(self, trial: int, epoch: int) -> None:
        """Let TPE learn what a trial has reached after its last epoch."""
        if self._study is None:
            return
        running, own = self._running.pop(trial), self._trials[trial]
        value = own.best[epoch - 1]
        if math.isnan(value):
            self._study.tell(running.number, state=TrialState.PRUNED)
        elif epoch < len(own.reached):
            storage = self._study._storage
            storage.set_trial_intermediate_value(running._trial_id, epoch, value)
            self._study.tell(running.number, state=TrialState.PRUNED)
        else:
            self._study.tell(running.number, value)


def study_of(searcher: Searcher, seed: int) -> optuna.Study:
    """Return a study of TPE, which keeps away from trials that run, as a search has it."""
    sampler = optuna.samplers.TPESampler(
        seed=seed,
        multivariate=searcher.multivariate,
        n_startup_trials=searcher.startup or 0,
        constant_liar=True,
    )
    return optuna.create_study(sampler=sampler)


def unit(chosen: Mapping[str, Any], space: Mapping[str, Parameter]) -> list[Any]:
    """Return a configuration with its numbers scaled from 0 to 1, and its choices as they are."""
    scaled = []
    for name, parameter in space.items():
        if parameter.choices:
            scaled.append(str(chosen[name]))
            continue
        ends = (parameter.low, parameter.high, chosen[name])
        low, high, value = map(math.log, ends) if parameter.log else ends
        scaled.append((value - low) / (high - low))
    return scaled


def distance(one: Sequence[Any], other: Sequence[Any]) -> float:
    """Return the squared distance of two points of `unit`; choices that differ are 1 apart."""
    return sum(
        (a - b) ** 2 if not isinstance(a, str) else float(a != b)
        for a, b in zip(one, other, strict=True)
    )


def interquartile_mean(values: Floats) -> Floats:
    """Return the mean of the middle half along the last axis.

    Agarwal et al. 2021, "Deep reinforcement learning at the edge of the statistical precipice".
    """
    quarter = values.shape[-1] // 4
    middle: Floats = np.sort(values)[..., quarter : values.shape[-1] - quarter].mean(axis=-1)
    return middle


def interval(values: Floats) -> tuple[float, float, float]:
    """Return the interquartile mean over seeds and its 95 % interval, by a bootstrap."""
    luck = np.random.default_rng(0)
    resampled = values[luck.integers(len(values), size=(RESAMPLES, len(values)))]
    low, high = np.percentile(interquartile_mean(resampled), [2.5, 97.5])
    return float(interquartile_mean(values)), float(low), float(high)
