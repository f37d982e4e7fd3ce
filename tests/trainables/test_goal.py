"""What best means, of epochs and of trials."""

import math
from typing import Any

import pandas as pd
import pytest

from trainables.goal import COSINE, LOSS, USUAL, Goal

PSNR, WORST = Goal(rank_by="psnr"), Goal(rank_by="worst", higher_is_better=False)


def epoch(number: int, loss: float, cosine: float, score: float | None = None) -> dict[str, Any]:
    return {
        "epoch": number,
        "train_loss": 1.0,
        "validation_loss": loss,
        "validation_accuracy": round(cosine, 1),
        "validation_cosine": cosine,
        "validation_score": score,
    }


EPOCHS = [
    epoch(1, 0.3, 0.91, 7.0),
    epoch(2, 0.1, 0.92, 9.0),
    epoch(3, 0.2, 0.94, 8.0),
    epoch(4, 0.4, 0.86, 9.0),
    epoch(5, math.nan, 0.99, 99.0),
    epoch(6, 0.5, 0.5, math.nan),
]


@pytest.mark.parametrize(
    ("goal", "best"), [(USUAL, 2), (Goal(rank_by=COSINE), 3), (PSNR, 2), (WORST, 1)]
)
def test_the_best_epoch_is_that_of_what_is_ranked_by_and_the_earlier_of_two(
    goal: Goal, best: int
) -> None:
    assert goal.best_epoch(EPOCHS)["epoch"] == best
    assert goal.best_epoch(reversed(EPOCHS))["epoch"] == best


def test_an_epoch_without_a_score_is_never_best() -> None:
    assert PSNR.best_epoch(EPOCHS[5:]) is None
    assert USUAL.best_epoch(EPOCHS[5:]) == EPOCHS[5]


def test_the_objective_is_lowest_for_the_best_of_rows_and_of_data_frames() -> None:
    frame = pd.DataFrame(EPOCHS[:4])
    for goal in (USUAL, Goal(rank_by=COSINE), PSNR, WORST):
        assert goal.objective(frame).tolist() == [goal.objective(row) for row in EPOCHS[:4]]
        assert EPOCHS[int(goal.objective(frame).argmin())] == goal.best_epoch(EPOCHS[:4])
    assert PSNR.objective({"best_validation_score": 3.0}, of="best_") == -3.0


def test_losses_of_several_kinds_compare_by_the_cosine_unless_something_else_is_asked_for() -> None:
    assert USUAL.between(mixed_losses=True) == Goal(rank_by=COSINE)
    assert USUAL.between(mixed_losses=False) == Goal(rank_by=LOSS)
    assert PSNR.between(mixed_losses=True) == PSNR
    strict = Goal(threshold=0.99)
    assert strict.between(mixed_losses=True) == Goal(rank_by=COSINE, threshold=0.99)
