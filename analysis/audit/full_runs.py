"""The curves of a run that was trained in full, from its tables."""

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from analysis.audit.curve import Curve
from analysis.tables.files import Row, rows_of, run_of
from analysis.tables.ranking import FAILED, goal_of, has_mixed_losses
from trainables.errors import UsageError
from trainables.goal import Goal

FEWEST_TRIALS = 8
SOUND = frozenset({"max_epochs", "early_stopping"})
IN_FULL = SOUND | {"diverged"}
"""Endings of trials that no scheduler brought about."""


@dataclass(frozen=True)
class Recorded:
    """Trials of one network in one run.

    Attributes:
        run, model, pipeline: What was trained, and for what.
        max_epochs: Of a trial that did not end by itself.
        curves: Of the trials, in the order of their numbers.
    """

    run: str
    model: str
    pipeline: str
    max_epochs: int
    curves: list[Curve]


def recorded(storage: str, tables: Path, name: str) -> list[Recorded]:
    """Read a run's curves, those of each network for itself, as its rungs are.

    For the arguments see `run_of`.

    Raises:
        UsageError: There is no such run, or its trials were not trained in full, or are too few.
    """
    run = run_of(storage, tables, name)
    trials = [row for row in rows_of(tables, "trials", name) if row["repeat_of"] is None]
    _check(run, trials)
    goal = goal_of(run).between(has_mixed_losses(run))
    epochs = defaultdict(list)
    for row in rows_of(tables, "epochs", name):
        epochs[row["trial"]].append(row)
    curves = defaultdict(list)
    for trial in trials:
        if trial["stop_reason"] in IN_FULL:
            curves[trial["model"]].append(curve(epochs[trial["trial"]], goal))
    return [
        Recorded(name, model, run["pipeline"], max(len(one.reached) for one in own), own)
        for model, own in curves.items()
    ]


def curve(epochs: Iterable[Row], goal: Goal) -> Curve:
    """Return what a scheduler would have heard of a trial.

    Args:
        epochs: Its rows of the epochs table.
        goal: What is best, as `Goal.between` returns it.
    """
    reached, seconds = [], []
    for row in sorted(epochs, key=lambda row: row["epoch"]):
        value = float(goal.objective(row))
        is_finite = math.isfinite(row["validation_loss"] + row["train_loss"] + value)
        reached.append(value if is_finite else math.nan)
        seconds.append(row["train_sec"] + row["validation_sec"])
    return Curve(reached, seconds)


def _check(run: Row, trials: Iterable[Row]) -> None:
    """Raise UsageError for a run whose curves end where somebody stopped them."""
    again = "make one with: python -m tuner.run --scheduler none"
    endings = {row["trial"]: row["stop_reason"] for row in trials}
    stopped = [n for n, ending in endings.items() if ending not in IN_FULL | FAILED]
    if stopped:
        ending = endings[stopped[0]] or run["status"]
        raise UsageError(
            f"{len(stopped)} of the {len(endings)} trials of {run['run']} did not come to their "
            f"end (trial {stopped[0]}: {ending}), and an audit needs runs trained in full: {again}"
        )
    models = {row["model"] for row in trials if row["stop_reason"] in IN_FULL} or {run["model"]}
    for model in sorted(models):
        count = sum(row["model"] == model and row["stop_reason"] in SOUND for row in trials)
        if count < FEWEST_TRIALS:
            raise UsageError(
                f"{run['run']} has {count} trials of {model} that came to their end, and an "
                f"audit needs at least {FEWEST_TRIALS}: {again} --samples {4 * FEWEST_TRIALS}"
            )
