"""Which trial is best."""

import json
import math
import random
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from analysis.tables.ranking import (
    BETWEEN_RUNS,
    BY_LOSS,
    beside_each_other,
    bests_in_words,
    finalists,
    goal_of,
    has_mixed_losses,
    order_in_words,
    ranked,
    ranked_frame,
    ranking_rule,
    with_rules,
)
from analysis.tables.schema import arrow_schema
from trainables.goal import COSINE, USUAL, Goal


def row(trial: int, best: float | None, **more: Any) -> dict[str, Any]:
    known = {
        "run": "r",
        "model": "fc",
        "loss": "mse",
        "best_validation_accuracy": None,
        "best_validation_cosine": None,
        "best_validation_score": None,
    }
    known |= {
        "trial": trial,
        "best_validation_loss": best,
        "stop_reason": "max_epochs",
        "repeat_of": None,
    }
    return known | more


def reached(
    trial: int, loss: str, accuracy: float, cosine: float, best: float = 0.5, **more: Any
) -> dict[str, Any]:
    """A trial that minimised this loss."""
    shares = {"best_validation_accuracy": accuracy, "best_validation_cosine": cosine}
    return row(trial, best, loss=loss, **shares, **more)


def numbers(rows: list[dict[str, Any]]) -> list[int]:
    """In the order of `ranked`, with a run that searches as many losses as the rows have."""
    several = len({row["loss"] for row in rows}) > 1
    return [row["trial"] for row in ranked(rows, USUAL.between(several))]


def test_the_lowest_loss_comes_first() -> None:
    assert numbers([row(0, 0.3), row(1, 0.1), row(2, 0.2)]) == [1, 2, 0]


def test_ties_go_to_the_earlier_trial_in_whichever_order_the_rows_come() -> None:
    rows = [row(trial, loss) for trial, loss in enumerate([0.2, 0.1, 0.1, 0.2, 0.1])]
    for seed in range(5):
        random.Random(seed).shuffle(rows)
        assert numbers(rows) == [1, 2, 4, 0, 3]


@pytest.mark.parametrize(
    "reason", ["max_epochs", "early_stopping", "asha", "median", "interrupted", None]
)
def test_a_trial_that_trained_soundly_can_be_best(reason: str | None) -> None:
    assert numbers([row(0, 0.5), row(1, 0.1, stop_reason=reason)]) == [1, 0]


@pytest.mark.parametrize(
    "never",
    [
        row(0, 0.0, stop_reason="diverged"),
        row(0, 0.0, stop_reason="error"),
        row(0, 0.0, stop_reason="out_of_memory"),
        row(0, math.nan),
        row(0, math.inf),
        row(0, -math.inf),
        row(0, None),
        row(0, 0.0, repeat_of=1),
    ],
    ids=[
        "diverged",
        "error",
        "out of memory",
        "nan",
        "inf",
        "-inf",
        "no epoch",
        "repeats another",
    ],
)
def test_a_trial_with_no_sound_result_of_its_own_is_never_best(never: dict[str, Any]) -> None:
    assert numbers([never, row(1, 0.5)]) == [1]
    assert numbers([never]) == []


MIXED = [
    reached(0, "mse", 0.90, 0.990, 0.004),
    reached(1, "perceptual", 0.95, 0.960, 3.0),
    reached(2, "perceptual", 0.95, 0.970, 4.0),
    reached(3, "mse", 0.90, 0.980, 0.002),
    reached(4, "perceptual", 0.95, 0.960, 2.0),
]


def test_trials_of_several_losses_are_ranked_by_accuracy_then_by_cosine_then_by_number() -> None:
    assert numbers(MIXED) == [2, 1, 4, 0, 3]
    assert numbers([row for row in MIXED if row["loss"] == "mse"]) == [3, 0]
    assert numbers([row for row in MIXED if row["loss"] == "perceptual"]) == [4, 1, 2]


def test_a_run_that_searches_several_losses_is_one_before_its_trials_have_them() -> None:
    mse = [row for row in MIXED if row["loss"] == "mse"]
    for asked, order in (("mse", [3, 0]), ("mse,perceptual", [0, 3]), (None, [3, 0])):
        runs = runs_of("r", loss=asked)
        (run,) = runs.to_dict("records")
        ranks = goal_of(run).between(has_mixed_losses(run))
        assert [row["trial"] for row in ranked(mse, ranks)] == order
        found = with_rules(pa.Table.from_pylist(mse).to_pandas(), runs)
        assert ranked_frame(found).trial.tolist() == order


def test_one_image_outweighs_any_cosine_and_a_millionth_of_one_decides_between_equals() -> None:
    by_cosine = USUAL.between(mixed_losses=True)
    for images in (1_000, 4_000_000):
        less, more = (
            reached(0, "mse", count / images, cosine) for count, cosine in ((700, 1.0), (701, -1.0))
        )
        assert by_cosine.objective(more, of="best_") < by_cosine.objective(less, of="best_")
    close, closer = reached(0, "mse", 0.7, 0.9), reached(0, "mse", 0.7, 0.9 + 1e-6)
    assert by_cosine.objective(closer, of="best_") < by_cosine.objective(close, of="best_")


def test_the_best_of_each_loss_is_a_finalist_and_the_best_comes_first() -> None:
    for count, expected in ((1, [2, 0]), (2, [2, 1, 0]), (3, [2, 1, 4, 0]), (9, [2, 1, 4, 0, 3])):
        by_cosine = USUAL.between(mixed_losses=True)
        assert [row["trial"] for row in finalists(MIXED, count, by_cosine)] == expected
    assert [row["trial"] for row in finalists([row(0, 0.3), row(1, 0.1), row(2, 0.2)], 2)] == [1, 2]
    assert finalists([], 3) == []


def test_the_best_of_each_network_is_a_finalist() -> None:
    rows = [row(0, 0.1), row(1, 0.2), row(2, 0.4, model="cnn"), row(3, 0.3, model="cnn")]
    for count, expected in ((1, [0, 3]), (2, [0, 1, 3]), (4, [0, 1, 3, 2])):
        assert [one["trial"] for one in finalists(rows, count)] == expected


def test_what_ranks_is_told() -> None:
    assert ranking_rule(mixed_losses=False) == "the lowest validation loss at any epoch"
    assert "validation cosine accuracy at 0.95, then the highest mean cosine" in ranking_rule(
        mixed_losses=True
    )


@pytest.mark.parametrize(
    ("goal", "words"),
    [
        (
            Goal(rank_by=COSINE, threshold=0.9),
            "the highest validation cosine accuracy at 0.9, then the highest mean cosine, at any "
            "epoch",
        ),
        (Goal(rank_by="psnr"), "the highest mean psnr over the validation images at any epoch"),
        (
            Goal(rank_by="worst", higher_is_better=False),
            "the lowest mean worst over the validation images at any epoch",
        ),
    ],
)
def test_what_was_asked_to_rank_by_is_told_whatever_the_losses(goal: Goal, words: str) -> None:
    for mixed_losses in (False, True):
        assert ranking_rule(mixed_losses, goal) == words


def test_trials_are_ranked_by_what_their_run_says() -> None:
    rows = [
        reached(0, "mse", 0.9, 0.99, 0.1, best_validation_score=30.0),
        reached(1, "perceptual", 0.8, 0.98, 0.2, best_validation_score=31.0),
        reached(2, "mse", 0.7, 0.97, 0.3, best_validation_score=29.0),
    ]
    orders = {
        ("loss", None): [0, 1, 2],
        ("cosine", None): [0, 1, 2],
        ("psnr", True): [1, 0, 2],
        ("worst", False): [2, 0, 1],
    }
    for (rank_by, higher), order in orders.items():
        run = {"rank_by": rank_by, "higher_is_better": higher, "threshold": 0.95}
        assert [row["trial"] for row in ranked(rows, goal_of(run))] == order
        assert finalists(rows, 3, goal_of(run)) == [rows[number] for number in order]


def test_the_best_epoch_is_the_first_of_the_lowest_finite_loss() -> None:
    losses = [math.nan, 0.3, 0.2, 0.2, 0.1, -math.inf]
    rows = [
        {"epoch": e, "validation_loss": x, "train_loss": 0.1} for e, x in enumerate(losses, start=1)
    ]
    rows[4]["train_loss"] = math.inf
    assert USUAL.best_epoch(reversed(rows)) == rows[2]
    assert USUAL.best_epoch(rows[:1]) is None


SOUND = ["max_epochs", "early_stopping", "asha", "median", "interrupted", None]
LOSSES = [None, math.nan, math.inf, -math.inf, 0.0, 0.1, 0.1, 0.2, 0.2, 0.3]


@pytest.mark.parametrize("count", [0, 1, 5, 60])
def test_a_data_frame_of_a_run_is_ranked_as_its_rows_are(count: int) -> None:
    schema = pa.schema([arrow_schema("trials").field(name) for name in row(0, None)])
    some = 0
    for seed in range(50):
        luck = random.Random(seed)
        rows = [
            reached(trial, "mse", luck.choice([0.5, 0.6]), luck.random(), 0.0)
            for trial in range(count)
        ]
        for one in rows:
            one["stop_reason"] = luck.choice([*SOUND, "diverged", "error", "out_of_memory"])
            one["repeat_of"] = luck.choice([None, None, None, 0])
            one["best_validation_loss"] = luck.choice(LOSSES)
            one["loss"] = luck.choice(["mse", "perceptual"]) if seed % 2 else "mse"
        luck.shuffle(rows)
        found = ranked_frame(
            with_rules(
                pa.Table.from_pylist(rows, schema).to_pandas(),
                runs_of("r", loss=",".join({one["loss"] for one in rows})),
            )
        )
        assert found.trial.tolist() == numbers(rows)
        some += len(found)
    assert (some > 0) == (count > 0)


def frame(*rows: dict[str, Any]) -> pd.DataFrame:
    trials = pa.Table.from_pylist(list(rows)).to_pandas()
    losses = trials.groupby("run", sort=False).loss.unique().map(",".join)
    return with_rules(trials, pd.concat(runs_of(run, loss=loss) for run, loss in losses.items()))


def runs_of(*names: str, goal: Goal = USUAL, loss: str | None = "mse") -> pd.DataFrame:
    """Rows of runs that are ranked by this and search these losses."""
    ranks = {"rank_by": goal.rank_by, "threshold": goal.threshold}
    ranks |= {"higher_is_better": goal.higher_is_better if goal.has_score else None}
    ranks |= {"config": json.dumps({"loss": loss})}
    return pd.DataFrame([{"run": name, **ranks} for name in names])


def test_between_runs_a_tie_of_loss_and_trial_goes_to_the_earlier_row() -> None:
    rows = [row(1, 0.1, run="b"), row(0, 0.2, run="b"), row(0, 0.2, run="a"), row(1, 0.1, run="a")]
    found = ranked_frame(frame(*rows))
    assert list(zip(found.run, found.trial, strict=True)) == [
        ("b", 1),
        ("a", 1),
        ("b", 0),
        ("a", 0),
    ]


ALONE = [
    reached(0, "mse", 0.99, 0.9995, 0.2, run="a"),
    reached(1, "mse", 0.98, 0.999, 0.1, run="a"),
]
OTHER = [reached(0, "perceptual", 0.97, 0.99, 0.05, run="b")]


def test_each_run_is_ranked_by_its_own_rule_whatever_is_beside_it() -> None:
    mixed = [row | {"run": "c"} for row in MIXED]
    for beside in ([], OTHER, mixed, OTHER + mixed):
        found = ranked_frame(frame(*beside, *ALONE))
        assert found[found.run == "a"].trial.tolist() == [1, 0]
        assert set(found[found.run == "a"].rule) == {BY_LOSS}
        mine = found[found.run == "c"]
        assert mine.trial.tolist() == (numbers(MIXED) if mixed[0] in beside else [])
        assert set(mine.rule) <= {ranking_rule(True)}


def test_between_runs_the_rule_they_share_decides_else_the_mean_cosine_and_that_is_told() -> None:
    again = [one | {"run": "d", "best_validation_loss": 0.15} for one in ALONE[:1]]
    mixed = [row | {"run": "c"} for row in MIXED]
    one, two = frame(*ALONE, *again), frame(*mixed, *(row | {"run": "e"} for row in MIXED))
    assert beside_each_other(one).tolist() == [0.2, 0.1, 0.15]
    assert order_in_words(one) == BY_LOSS
    assert beside_each_other(two).equals(two.objective)
    assert order_in_words(two) == ranking_rule(True)
    for apart in (frame(*ALONE, *OTHER), frame(*ALONE, *mixed)):
        assert beside_each_other(apart).tolist() == (-apart.best_validation_cosine).tolist()
        assert order_in_words(apart) == BETWEEN_RUNS
    assert order_in_words(one[:0]) == BY_LOSS


def test_runs_that_are_ranked_by_a_metric_are_so_in_data_frames_too() -> None:
    scores = [reached(n, "mse", 0.9, 0.9, 0.1, run="s", best_validation_score=n) for n in range(3)]
    trials = pa.Table.from_pylist([*scores, *ALONE]).to_pandas()
    for goal, order in (
        (Goal(rank_by="psnr"), [2, 1, 0]),
        (Goal(rank_by="worst", higher_is_better=False), [0, 1, 2]),
    ):
        runs = pd.concat([runs_of("a"), runs_of("s", goal=goal)], ignore_index=True)
        found = ranked_frame(with_rules(trials, runs))
        assert found[found.run == "s"].trial.tolist() == order
        assert set(found[found.run == "s"].rule) == {ranking_rule(False, goal)}
        assert found[found.run == "a"].trial.tolist() == [1, 0]


def test_what_the_bests_of_several_runs_are_best_by_is_told() -> None:
    mixed = [row | {"run": "c"} for row in MIXED]
    assert bests_in_words(frame(*ALONE)) == BY_LOSS
    assert bests_in_words(frame(*mixed)) == ranking_rule(True)
    assert bests_in_words(frame(*ALONE, *OTHER)) == f"{BY_LOSS}; in the order of {BETWEEN_RUNS}"
    assert bests_in_words(frame(*ALONE, *mixed)).startswith("each run's own rule; in the order of ")
