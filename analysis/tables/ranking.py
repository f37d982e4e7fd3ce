"""Which epoch and which trial is best: the one definition that everything calls, for rows and for data frames."""

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from analysis.tables.files import Row

if TYPE_CHECKING:
    import pandas as pd

NEVER_BEST = frozenset({"diverged", "out_of_memory", "error"})
BY_LOSS = "the lowest validation loss at any epoch"
BY_COSINE = (
    "the highest validation cosine accuracy at 0.95, then the highest mean cosine, "
    "since losses of different kinds do not compare"
)
RANKED_BY = ("best_validation_loss", "best_validation_accuracy", "best_validation_cosine")
COSINE_STEP = 1e-7  # all cosines together weigh less than one image of five million, and their differences still count


def several_losses(trials: Iterable[Row]) -> bool:
    """Whether a run's trials minimise losses of different kinds, which do not compare."""
    return len({row["loss"] for row in trials}) > 1


def told(several: bool) -> str:
    """What ranks the trials, in words."""
    return BY_COSINE if several else BY_LOSS


def best_epoch(epochs: Iterable[Row]) -> Row | None:
    """Of one trial's epochs the one whose weights are kept: the lowest validation loss, ties to the earlier one.

    None when no loss is finite.
    """
    finite = [
        row
        for row in epochs
        if math.isfinite(row["validation_loss"]) and math.isfinite(row["train_loss"])
    ]
    return min(finite, key=lambda row: (row["validation_loss"], row["epoch"]), default=None)


def objective(values: Any, *, several: bool, of: str = "") -> Any:
    """What is lowest for the best trial: its validation loss, or with `several` losses what compares in their place.

    `values` is a trial's best epoch, or with `of="best_"` a row of trials; or a data frame of them.
    """
    if not several:
        return values[f"{of}validation_loss"]
    return -(values[f"{of}validation_accuracy"] + COSINE_STEP * values[f"{of}validation_cosine"])


def ranked(trials: Iterable[Row]) -> list[Row]:
    """Rows of a run's trials from best to worst: by the lowest validation loss at any epoch.

    Where they have losses of different kinds, by the cosine accuracy at that epoch, then by the mean cosine. Ties go
    to the earlier trial. Left out are trials that diverged or failed, that have no finished epoch, and repeats of
    finalists with other seeds.
    """
    trials = list(trials)
    several = several_losses(trials)
    candidates = [
        row
        for row in trials
        if row["stop_reason"] not in NEVER_BEST
        and row["confirms"] is None
        and row["best_validation_loss"] is not None
        and math.isfinite(row["best_validation_loss"])
    ]
    return sorted(
        candidates, key=lambda row: (objective(row, several=several, of="best_"), row["trial"])
    )


def finalists(trials: Iterable[Row], count: int) -> list[Row]:
    """The `count` best of a run, and the best trial of each loss where it is not among them."""
    best = ranked(trials)
    firsts = {row["loss"]: row["trial"] for row in reversed(best)}
    return [
        row for place, row in enumerate(best) if place < count or row["trial"] in firsts.values()
    ]


def frame_has_several(trials: "pd.DataFrame") -> bool:
    """`several_losses` for a data frame of any number of runs: whether one of them has."""
    return bool((trials.groupby("run", observed=True).loss.nunique() > 1).any())


def frame_objective(trials: "pd.DataFrame") -> "pd.Series":
    """What the rows are ranked by, lowest first; all alike, by the cosine if one of the runs has several losses."""
    numbers = trials.astype(dict.fromkeys(RANKED_BY, float))
    found: pd.Series = objective(numbers, several=frame_has_several(trials), of="best_")
    return found


def ranked_frame(trials: "pd.DataFrame") -> "pd.DataFrame":
    """`ranked` for a data frame of the trials table, of any number of runs; ties go to the earlier row's run."""
    finite = trials.best_validation_loss.astype(float).abs() < math.inf  # false for nulls too
    ranking = trials.assign(objective=frame_objective(trials))
    candidates = ranking[finite & trials.confirms.isna() & ~trials.stop_reason.isin(NEVER_BEST)]
    return candidates.sort_values(["objective", "trial"], kind="stable").drop(columns="objective")
