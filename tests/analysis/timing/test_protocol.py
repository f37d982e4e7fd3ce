"""When a series is warm, how many images a pass takes, and what makes a result invalid."""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from analysis.timing.protocol import (
    INVALID,
    VALID,
    WARNING,
    images_per_pass,
    judge,
    relative_iqr,
    warm_up,
)

QUIET: dict[str, Any] = {"cores": 4, "threads": 2, "other_load": 0.0}
STEADY = [1.0] * 9


def warmed_by(times: Sequence[float]) -> tuple[tuple[int, bool], int]:
    """The warm-up, and how many of these times it took."""
    rest = iter(times)
    warm = warm_up(lambda: next(rest))
    return warm, len(times) - len(list(rest))


@pytest.mark.parametrize(
    ("times", "passes"),
    [
        ([1.0, 1.0, 1.0], 3),
        ([9.0, 1.0, 1.0, 1.0], 4),
        ([9.0, 5.0, 3.0, 2.0, 1.0, 1.01, 1.02], 7),
        ([1.0, 1.0, 2.0, 1.0, 1.0, 1.0], 6),
    ],
)
def test_a_warm_up_ends_with_the_first_three_passes_in_a_row_that_agree(
    times: list[float], passes: int
) -> None:
    assert warmed_by([*times, *[1.0] * 20]) == ((passes, True), passes)


def test_three_passes_agree_when_the_slowest_is_within_5_percent_of_their_median() -> None:
    assert warmed_by([1.0, 1.0, 1.0499, *[7.0] * 20]) == ((3, True), 3)
    assert warmed_by([1.0, 1.0, 1.0501, *[7.0] * 20]) == ((6, True), 6)
    assert warmed_by([100.0, 102.6, 105.1, *[7.0] * 20]) == ((3, True), 3), (
        "of the median, not of the fastest"
    )


def test_a_warm_up_that_never_settles_ends_after_ten_passes_and_says_so() -> None:
    assert warmed_by([1.0, 2.0] * 10) == ((10, False), 10)


def test_a_warm_up_that_settles_with_its_tenth_pass_is_settled() -> None:
    assert warmed_by([9.0, 8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 1.0, 1.0, 1.0, 1.0]) == (
        (10, True),
        10,
    )


@pytest.mark.parametrize(
    ("images", "batch_size", "batch_sec", "limit_sec", "expected"),
    [
        (10_000, 250, 0.001, 1.0, 10_000),
        (10_000, 64, 0.001, 1.0, 9984),
        (100, 100, 0.5, 1.0, 100),
        (99, 100, 0.5, 1.0, 0),
        (10_000, 1, 0.25, 1.0, 4),
        (10_000, 250, 0.25, 0.99, 750),
        (10_000, 250, 1.0, 1.0, 250),
        (10_000, 250, 1.01, 1.0, 0),
    ],
    ids=[
        "all fit",
        "whole batches only",
        "one batch of all",
        "fewer images than a batch",
        "as many as the limit takes",
        "never beyond the limit",
        "one batch takes just as long",
        "one batch takes longer",
    ],
)
def test_a_pass_takes_whole_batches_within_its_time(
    images: int, batch_size: int, batch_sec: float, limit_sec: float, expected: int
) -> None:
    assert images_per_pass(images, batch_size, batch_sec, limit_sec) == expected


def spread_over(iqr: float) -> list[float]:
    """Five times with median 1 and this interquartile range."""
    return [0.1, 1 - iqr / 2, 1.0, 1 + iqr / 2, 9.0]


def test_the_spread_is_the_interquartile_range_by_the_median_as_numpy_has_it() -> None:
    random = np.random.default_rng(0)
    for count in (2, 3, 4, 10, 30):
        times = random.lognormal(size=count)
        first, middle, third = np.quantile(times, [0.25, 0.5, 0.75])
        assert relative_iqr(times.tolist()) == pytest.approx((third - first) / middle, rel=1e-12)


def test_a_single_time_has_no_spread() -> None:
    assert relative_iqr([3.0]) == 0.0
    assert judge([[3.0], [4.0]], **QUIET) == (VALID, "")


def test_a_steady_series_on_a_quiet_machine_is_valid() -> None:
    assert judge([STEADY, STEADY], **QUIET) == (VALID, "")


@pytest.mark.parametrize(
    ("iqr", "verdict"), [(0.0999, VALID), (0.1001, WARNING), (0.2499, WARNING), (0.2501, INVALID)]
)
@pytest.mark.parametrize("steady_first", [True, False])
def test_the_wider_of_two_spreads_warns_above_10_percent_and_is_invalid_above_25(
    iqr: float, verdict: str, steady_first: bool
) -> None:
    wide = spread_over(iqr)
    found, reason = judge([STEADY, wide] if steady_first else [wide, STEADY], **QUIET)
    assert found == verdict
    assert (reason == "") == (verdict == VALID)


def test_a_spread_of_exactly_a_threshold_is_still_the_better_verdict() -> None:
    tenth, quarter = [8.0, 9.5, 10.0, 10.5, 12.0], [6.0, 7.0, 8.0, 9.0, 10.0]
    assert relative_iqr(tenth) == 0.1
    assert relative_iqr(quarter) == 0.25
    assert judge([tenth], **QUIET)[0] == VALID
    assert judge([quarter], **QUIET)[0] == WARNING


@pytest.mark.parametrize(("load", "verdict"), [(2.4, VALID), (2.41, INVALID)])
def test_other_work_may_want_a_tenth_more_than_the_cores_together_with_the_subject(
    load: float, verdict: str
) -> None:
    assert judge([STEADY], **QUIET | {"other_load": load})[0] == verdict


# From the gravest to the least: each comes with all that are behind it
REASONS: list[tuple[str, dict[str, Any], str, str]] = [
    (
        "another computation",
        {"fault": "it computes something else"},
        INVALID,
        "^it computes something else$",
    ),
    (
        "heat",
        {"throttled": True},
        INVALID,
        "^the processor lowered its clock .* let it cool, and measure again$",
    ),
    (
        "the GPU",
        {"gpu_processes": 3},
        INVALID,
        "^3 other processes were on the GPU: stop them, or take another GPU$",
    ),
    (
        "other work",
        {"other_load": 3.0},
        INVALID,
        "^other work kept 3.0 of 4 cores busy: end it, or give --threads$",
    ),
    (
        "spread",
        {"iqr": 0.3},
        INVALID,
        "^the middle half of the passes spreads over more than 25% .* measure again",
    ),
    (
        "some spread",
        {"iqr": 0.12},
        WARNING,
        "^the middle half of the passes spreads over 12% of the median$",
    ),
    (
        "no settling",
        {"settled": False},
        WARNING,
        "^the last 3 of 10 warm-up passes still differed by over 5%$",
    ),
]


def judged(*findings: dict[str, Any]) -> tuple[str, str]:
    """The verdict where all of these are found; of two spreads, the first counts."""
    merged: dict[str, Any] = {}
    for one in findings:
        merged = one | merged
    iqr = merged.pop("iqr", 0.0)
    return judge([spread_over(iqr)], **QUIET | merged)


@pytest.mark.parametrize(
    ("finding", "verdict", "reason"), [case[1:] for case in REASONS], ids=[r[0] for r in REASONS]
)
def test_each_reason_alone_is_told_with_what_to_do(
    finding: dict[str, Any], verdict: str, reason: str
) -> None:
    found, told = judged(finding)
    assert found == verdict
    assert re.search(reason, told)


@pytest.mark.parametrize("position", range(len(REASONS)), ids=[case[0] for case in REASONS])
def test_of_several_reasons_the_gravest_is_told(position: int) -> None:
    findings = [case[1] for case in REASONS]
    assert judged(*findings[position:]) == judged(findings[position])
