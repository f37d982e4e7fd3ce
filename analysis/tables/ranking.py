"""Which trials are best, by the one definition of `goal`: for rows and for data frames."""

import json
import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from analysis.tables.files import Row
from trainables.goal import COSINE, LOSS, USUAL, Goal

if TYPE_CHECKING:
    import pandas as pd

FAILED = frozenset({"out_of_memory", "error"})
NEVER_BEST = FAILED | {"diverged"}
STOPPED = frozenset({"asha", "median"})
"""Stop reasons of trials that the scheduler ended, each by the name of the scheduler."""
BY_LOSS = "the lowest validation loss at any epoch"
MIXED = "since losses of different kinds do not compare"
BETWEEN_RUNS = "the highest mean validation cosine, since losses or rules of runs differ"
RANKED_BY = (
    "best_validation_loss",
    "best_validation_accuracy",
    "best_validation_cosine",
    "best_validation_score",
)


def has_mixed_losses(run: Mapping[Any, Any]) -> bool:
    """Return whether a run searches losses of different kinds, which do not compare.

    It says so in its settings: its first trials may all have one of them, and are ranked as they
    will be beside the others.

    Args:
        run: Its row of the runs table.
    """
    return "," in str(json.loads(run["config"]).get("loss"))


def goal_of(run: Mapping[Any, Any]) -> Goal:
    """Return what a run's trials are ranked by, from its row of the runs table."""
    return Goal(
        rank_by=run["rank_by"],
        higher_is_better=run["higher_is_better"] != 0,  # null is not, either
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

    Args:
        trials: The rows.
        goal: What they are ranked by, as `Goal.between` returns it.
    """
    return sorted(
        (
            row
            for row in trials
            if row["stop_reason"] not in NEVER_BEST
            and row["repeat_of"] is None
            and row["best_validation_loss"] is not None
            and math.isfinite(row["best_validation_loss"])
        ),
        key=lambda row: (goal.objective(row, of="best_"), row["trial"]),
    )


def finalists(trials: Iterable[Row], count: int, goal: Goal = USUAL) -> list[Row]:
    """Return the `count` best of a run, and the best trial of each network with each loss.

    For the other arguments see `ranked`.
    """
    best = ranked(trials, goal)
    kinds = {(row["model"], row["loss"]): row["trial"] for row in reversed(best)}.values()
    return [row for place, row in enumerate(best) if place < count or row["trial"] in kinds]


def with_rules(trials: "pd.DataFrame", runs: "pd.DataFrame") -> "pd.DataFrame":
    """Return trials with what their run ranks by.

    Args:
        trials: Every trial of any number of runs.
        runs: The rows of those runs.

    Returns:
        The rows with the columns `rule`, in words, and `objective`: lowest for the best trial of
        its run, NaN without a finished epoch. Between runs of different rules it compares nothing.
    """
    rules, ranks = {}, {}
    for run in runs.to_dict("records"):
        name, goal = str(run["run"]), goal_of(run)
        is_mixed = has_mixed_losses(run)
        rules[name] = ranking_rule(is_mixed, goal)
        ranks[rules[name]] = goal.between(is_mixed)
    values = trials.astype(dict.fromkeys(RANKED_BY, float))
    found = trials.assign(rule=trials.run.astype(str).map(rules).astype(object), objective=math.nan)
    for rule, goal in ranks.items():
        of_rule = found.rule == rule
        found.loc[of_rule, "objective"] = goal.objective(values[of_rule], of="best_")
    return found


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
