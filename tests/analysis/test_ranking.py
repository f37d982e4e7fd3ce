"""Which trial is best."""

import math
import random
from typing import Any

import pyarrow as pa
import pytest

from analysis.ranking import ranked, ranked_frame
from analysis.schema import arrow_schema


def row(trial: int, loss: float | None, **more: Any) -> dict[str, Any]:
    return {"trial": trial, "best_validation_loss": loss, "stop_reason": "max_epochs", "confirms": None, **more}


def numbers(rows: list[dict[str, Any]]) -> list[int]:
    return [row["trial"] for row in ranked(rows)]


def test_the_lowest_loss_comes_first() -> None:
    assert numbers([row(0, 0.3), row(1, 0.1), row(2, 0.2)]) == [1, 2, 0]


def test_ties_go_to_the_earlier_trial_in_whichever_order_the_rows_come() -> None:
    rows = [row(trial, loss) for trial, loss in enumerate([0.2, 0.1, 0.1, 0.2, 0.1])]
    for seed in range(5):
        random.Random(seed).shuffle(rows)
        assert numbers(rows) == [1, 2, 4, 0, 3]


@pytest.mark.parametrize("reason", ["max_epochs", "early_stopping", "asha", "interrupted", None])
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
        row(0, 0.0, confirms=1),
    ],
    ids=["diverged", "error", "out of memory", "nan", "inf", "-inf", "no epoch", "confirms another"],
)
def test_a_trial_with_no_sound_result_of_its_own_is_never_best(never: dict[str, Any]) -> None:
    assert numbers([never, row(1, 0.5)]) == [1]
    assert numbers([never]) == []


SOUND = ["max_epochs", "early_stopping", "asha", "interrupted", None]
LOSSES = [None, math.nan, math.inf, -math.inf, 0.0, 0.1, 0.1, 0.2, 0.2, 0.3]


@pytest.mark.parametrize("count", [0, 1, 5, 60])
def test_a_data_frame_of_a_run_is_ranked_as_its_rows_are(count: int) -> None:
    schema = pa.schema([arrow_schema("trials").field(name) for name in row(0, None)])
    some = 0
    for seed in range(25):
        luck = random.Random(seed)
        rows = [row(trial, luck.choice(LOSSES)) for trial in range(count)]
        for one in rows:
            one["stop_reason"] = luck.choice([*SOUND, "diverged", "error", "out_of_memory"])
            one["confirms"] = luck.choice([None, None, None, 0])
        luck.shuffle(rows)
        found = ranked_frame(pa.Table.from_pylist(rows, schema).to_pandas())
        assert found.trial.tolist() == numbers(rows)
        some += len(found)
    assert (some > 0) == (count > 0)


def test_between_runs_a_tie_of_loss_and_trial_goes_to_the_earlier_row() -> None:
    rows = [row(1, 0.1, run="b"), row(0, 0.2, run="b"), row(0, 0.2, run="a"), row(1, 0.1, run="a")]
    found = ranked_frame(pa.Table.from_pylist(rows).to_pandas())
    assert list(zip(found.run, found.trial, strict=True)) == [("b", 1), ("a", 1), ("b", 0), ("a", 0)]
