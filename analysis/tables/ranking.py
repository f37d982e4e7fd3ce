"""Which epoch and which trial is best: the one definition, for rows and for data frames."""

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from analysis.tables.files import Row
from trainables.thresholds import THRESHOLD

if TYPE_CHECKING:
    import pandas as pd

NEVER_BEST = frozenset({"diverged", "out_of_memory", "error"})
BY_LOSS = "the lowest validation loss at any epoch"
BY_COSINE = (
    f"the highest validation cosine accuracy at {THRESHOLD}, then the highest mean cosine, "
    "since losses of different kinds do not compare"
)
BETWEEN_RUNS = "the highest mean validation cosine, since losses or rules of runs differ"
RANKED_BY = ("best_validation_loss", "best_validation_accuracy", "best_validation_cosine")
# All cosines together weigh less than one image of five million, and their differences still count
COSINE_STEP = 1e-7


def has_mixed_losses(trials: Iterable[Row]) -> bool:
    """Return whether a run's trials minimise losses of different kinds, which do not compare."""
    return len({row["loss"] for row in trials}) > 1


def ranking_rule(mixed_losses: bool) -> str:
    """Return what ranks the trials, in words."""
    return BY_COSINE if mixed_losses else BY_LOSS


def best_epoch(epochs: Iterable[Row]) -> Row | None:
    """Return the epoch of a trial whose weights are kept, or None where no loss is finite.

    It has the lowest validation loss; ties go to the earlier one.
    """
    return min(
        (
            row
            for row in epochs
            if math.isfinite(row["validation_loss"]) and math.isfinite(row["train_loss"])
        ),
        key=lambda row: (row["validation_loss"], row["epoch"]),
        default=None,
    )


def objective(values: Any, *, mixed_losses: bool, of: str = "") -> Any:
    """Return what is lowest for the best trial.

    It is the validation loss; where losses of different kinds are in one run, the negative cosine
    accuracy, and between equal ones the mean cosine.

    Args:
        values: A row of epochs, a row of trials, or a data frame of one of them.
        mixed_losses: Whether trials of the run minimise losses of different kinds.
        of: What the columns' names begin with: `best_` for trials.
    """
    if not mixed_losses:
        return values[f"{of}validation_loss"]
    return -(values[f"{of}validation_accuracy"] + COSINE_STEP * values[f"{of}validation_cosine"])


def ranked(trials: Iterable[Row]) -> list[Row]:
    """Return rows of a run's trials from best to worst; ties go to the earlier trial.

    Left out are trials that diverged or failed, trials that have no finished epoch, and repeats of
    finalists with other seeds.
    """
    trials = list(trials)
    mixed_losses = has_mixed_losses(trials)
    return sorted(
        (
            row
            for row in trials
            if row["stop_reason"] not in NEVER_BEST
            and row["repeat_of"] is None
            and row["best_validation_loss"] is not None
            and math.isfinite(row["best_validation_loss"])
        ),
        key=lambda row: (objective(row, mixed_losses=mixed_losses, of="best_"), row["trial"]),
    )


def finalists(trials: Iterable[Row], count: int) -> list[Row]:
    """Return the `count` best of a run, and the best trial of each loss if it is not among them."""
    best = ranked(trials)
    first_of_loss = {row["loss"]: row["trial"] for row in reversed(best)}.values()
    return [row for place, row in enumerate(best) if place < count or row["trial"] in first_of_loss]


def with_rules(trials: "pd.DataFrame") -> "pd.DataFrame":
    """Return trials with what their run ranks by.

    Args:
        trials: Every trial of any number of runs.

    Returns:
        The rows with the columns `rule`, in words, and `objective`: lowest for the best trial of
        its run, NaN without a finished epoch. Between runs of different rules it compares nothing.
    """
    values = trials.astype(dict.fromkeys(RANKED_BY, float))
    mixed_losses = trials.groupby("run", observed=True).loss.transform("nunique") > 1
    found = objective(values, mixed_losses=False, of="best_")
    by_cosine = objective(values, mixed_losses=True, of="best_")
    return trials.assign(
        rule=mixed_losses.map({False: BY_LOSS, True: BY_COSINE}).astype(object),
        objective=found.where(~mixed_losses, by_cosine),
    )


def ranked_frame(trials: "pd.DataFrame") -> "pd.DataFrame":
    """Return what `ranked` does of each run in a data frame, which each run ranks by its own rule.

    Ties go to the earlier trial, and between two of one number to the earlier row.

    Args:
        trials: As `with_rules` returns them.
    """
    finite = trials.best_validation_loss.astype(float).abs() < math.inf  # false for nulls too
    sound = trials[finite & trials.repeat_of.isna() & ~trials.stop_reason.isin(NEVER_BEST)]
    return sound.sort_values(["objective", "trial"], kind="stable")


def beside_each_other(trials: "pd.DataFrame") -> "pd.Series":
    """Return what orders trials of any number of runs, lowest first, as `order_in_words` says it.

    Args:
        trials: As `with_rules` returns them.
    """
    if _compare(trials):
        return trials.objective
    return -trials.best_validation_cosine.astype(float)


def order_in_words(trials: "pd.DataFrame") -> str:
    """Say by what `beside_each_other` orders these trials."""
    return _rule_in_words(trials) if _compare(trials) else BETWEEN_RUNS


def bests_in_words(best: "pd.DataFrame") -> str:
    """Say by what these trials are the best of their runs, and by what they stand in order."""
    if _compare(best):
        return _rule_in_words(best)
    return f"{_rule_in_words(best)}; in the order of {BETWEEN_RUNS}"


def _rule_in_words(trials: "pd.DataFrame") -> str:
    rules = set(trials.rule) or {BY_LOSS}
    return "each run's own rule" if len(rules) > 1 else str(*rules)


def _compare(trials: "pd.DataFrame") -> bool:
    """Return whether the objectives of all rows are of one kind."""
    rules = set(trials.rule)
    return len(rules) < 2 and (rules != {BY_LOSS} or trials.loss.nunique() < 2)
