"""Intervals over images, and what repeats with other seeds say."""

import math
from typing import Any

import pytest

from analysis.quality.spread import around_mean, over_trainings, wilson


@pytest.mark.parametrize(("share", "count"), [(0.0, 10), (0.5, 10), (1.0, 10), (0.9983, 10_000)])
def test_the_interval_is_the_one_whose_ends_the_share_is_two_standard_errors_from(
    share: float, count: int
) -> None:
    for end in wilson(share, count):
        error = math.sqrt(end * (1 - end) / count)
        assert abs(abs(share - end) - 1.96 * error) < 1e-5


def test_a_mean_lies_in_the_middle_of_its_interval_which_four_times_the_images_halve() -> None:
    low, high = around_mean(3.0, 0.5, 25)
    assert (low, high) == (pytest.approx(2.804, abs=1e-4), pytest.approx(3.196, abs=1e-4))
    narrow = around_mean(3.0, 0.5, 100)
    assert narrow[1] - narrow[0] == pytest.approx((high - low) / 2)


def score(
    trial: int | None, value: float, repeat_of: int | None = None, **more: Any
) -> dict[str, Any]:
    row = {"kind": "floor" if trial is None else "trial", "trial": trial, "repeat_of": repeat_of}
    at = {"split": "test", "metric": "cosine", "threshold": 0.95, "value": value}
    return row | at | more


def test_a_finalist_gets_mean_and_sample_deviation_over_itself_and_its_repeats() -> None:
    rows = over_trainings(
        [
            score(3, 0.9),
            score(5, 0.5),
            score(8, 0.8, repeat_of=3),
            score(9, 0.7, repeat_of=3),
            score(3, 0.1, threshold=0.99),
            score(8, 0.3, repeat_of=3, threshold=0.99),
            score(3, 20.0, metric="psnr", threshold=None),
            score(9, 22.0, repeat_of=3, metric="psnr", threshold=None),
            score(None, 0.2),
        ]
    )
    told = [(row["trainings"], row["mean"], row["sd"]) for row in rows]
    assert told[0] == (3, pytest.approx(0.8), pytest.approx(0.1))
    assert told[1] == (1, 0.5, None)
    assert told[2:4] == [(1, 0.8, None), (1, 0.7, None)]
    assert told[4] == (2, pytest.approx(0.2), pytest.approx(math.sqrt(0.02)))
    assert told[6] == (2, 21.0, pytest.approx(math.sqrt(2)))
    assert told[8] == (1, 0.2, None)
