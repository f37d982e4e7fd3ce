"""Which trial is best."""

import math
import random
from typing import Any

import pytest

from analysis.ranking import ranked


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
