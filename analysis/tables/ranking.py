"""Which trials are best, by the one definition of `goal`: for rows and for data frames."""

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

from analysis.tables.files import Row
from trainables.goal import COSINE, LOSS, USUAL, Goal

if TYPE_CHECKING:
    import pandas as pd

NEVER_BEST = frozenset({"diverged", "out_of_memory", "error"})
BY_LOSS = "the lowest validation loss at any epoch"
MIXED = "since losses of different kinds do not compare"
RANKED_BY = ("best_validation_loss", "best_validation_accuracy", "best_validation_cosine")


def has_mixed_losses(trials: Iterable[Row]) -> bool:
    """Return whether a run's trials minimise losses of different kinds, which do not compare."""
    return len({row["loss"] for row in trials}) > 1


def goal_of(run: Row) -> Goal:
    """Return what a run's trials are ranked by, from its row of the runs table."""
    return Goal(
        rank_by=run["rank_by"],
        higher_is_better=run["higher_is_better"] is not False,
        threshold=run["threshold"],
    )


def ranking_rule(mixed_losses: bool, goal: Goal = USUAL) -> str:
    """Return what ranks the trials, in words."""
    ranks = goal.between(mixed_losses)
    if ranks.rank_by == LOSS:
        return BY_LOSS
    if ranks.rank_by == COSINE:
        rule = (
            f"the highest validation cosine accuracy at {goal.threshold:g}, then the highest mean "
            f"cosine"
        )
        return f"{rule}, {MIXED}" if goal.rank_by == LOSS else f"{rule}, at any epoch"
    direction = "highest" if goal.higher_is_better else "lowest"
    return f"the {direction} mean {goal.rank_by} over the validation images at any epoch"


def ranked(trials: Iterable[Row], goal: Goal = USUAL) -> list[Row]:
    """Return rows of a run's trials from best to worst; ties go to the earlier trial.

    Left out are trials that diverged or failed, trials that have no finished epoch, and repeats of
    finalists with other seeds.
    """
    trials = list(trials)
    ranks = goal.between(has_mixed_losses(trials))
    return sorted(
        (
            row
            for row in trials
            if row["stop_reason"] not in NEVER_BEST
            and row["repeat_of"] is None
            and row["best_validation_loss"] is not None
            and math.isfinite(row["best_validation_loss"])
        ),
        key=lambda row: (ranks.objective(row, of="best_"), row["trial"]),
    )


def finalists(trials: Iterable[Row], count: int, goal: Goal = USUAL) -> list[Row]:
    """Return the `count` best of a run, and the best trial of each loss if it is not among them."""
    best = ranked(trials, goal)
    first_of_loss = {row["loss"]: row["trial"] for row in reversed(best)}.values()
    return [row for place, row in enumerate(best) if place < count or row["trial"] in first_of_loss]


def frame_has_mixed_losses(trials: "pd.DataFrame") -> bool:
    """Return whether any run of the data frame has losses of different kinds."""
    return bool((trials.groupby("run", observed=True).loss.nunique() > 1).any())


def frame_objective(trials: "pd.DataFrame") -> "pd.Series":
    """Return what the rows are ranked by, lowest first; NaN without a finished epoch.

    All rows are ranked alike: by the cosine if any of the runs has losses of different kinds.
    """
    ranks = USUAL.between(frame_has_mixed_losses(trials))
    found: pd.Series = ranks.objective(trials.astype(dict.fromkeys(RANKED_BY, float)), of="best_")
    return found


def ranked_frame(trials: "pd.DataFrame") -> "pd.DataFrame":
    """Return what `ranked` does of a data frame of any number of runs.

    Ties go to the earlier trial, and between two of one number to the earlier row.
    """
    finite = trials.best_validation_loss.astype(float).abs() < math.inf  # false for nulls too
    ranking = trials.assign(objective=frame_objective(trials))
    candidates = ranking[finite & trials.repeat_of.isna() & ~trials.stop_reason.isin(NEVER_BEST)]
    return candidates.sort_values(["objective", "trial"], kind="stable").drop(columns="objective")
