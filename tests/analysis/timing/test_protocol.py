"""How long a pass is, which turns count, and what makes a result valid, rough or invalid."""

import math
import re
from typing import Any

import numpy as np
import pytest

from analysis.timing.protocol import (
    INVALID,
    PASS_SEC,
    PROCESSES,
    ROUGH,
    STIR_SEC,
    TAIL_CALLS,
    TURNS,
    VALID,
    WARM_SEC,
    WIDE,
    calls_per_pass,
    estimate_verdict,
    is_disturbed,
    judge,
    least_series_sec,
    median_interval,
    ratio_interval,
    ratio_verdict,
    spread_within,
    threads_of,
    turns_per_process,
)

QUIET: dict[str, Any] = {"other_load": 0.0}
STEADY = [1.0] * PROCESSES


def within(half_width: float, count: int = PROCESSES) -> list[float]:
    """Values whose median is 1, and whose interval ends so far below and above it."""
    return [1 - half_width, *[1.0] * (count - 2), 1 + half_width]


@pytest.mark.parametrize(
    ("batch_sec", "calls"),
    [(1e-6, 15_000), (0.0015, 10), (0.004, 4), (0.0099, 2), (0.015, 1), (3.0, 1)],
)
def test_a_pass_takes_about_15_ms_and_at_least_one_batch(batch_sec: float, calls: int) -> None:
    assert PASS_SEC == 0.015
    assert calls_per_pass(batch_sec) == calls


def test_a_series_needs_the_first_call_a_warm_up_a_pass_on_the_device_and_a_turn() -> None:
    assert least_series_sec(0.0) == PROCESSES * (WARM_SEC + PASS_SEC + PASS_SEC + STIR_SEC)
    assert least_series_sec(1.0) == PROCESSES * (3 + 2)


@pytest.mark.parametrize(
    ("batch_sec", "turns"),
    [(1e-4, TURNS), (0.04, 3), (0.05, 2), (0.0833, 1), (0.1, 0), (9.0, 0)],
)
def test_a_process_has_as_many_turns_as_its_part_of_the_time_allows(
    batch_sec: float, turns: int
) -> None:
    assert turns_per_process(batch_sec, series_sec=2.5) == turns
    assert (least_series_sec(batch_sec) <= 2.5) == bool(turns)


def test_single_images_have_one_thread() -> None:
    assert (threads_of(1, 8), threads_of(2, 8)) == (1, 8)


@pytest.mark.parametrize(
    ("threads", "load", "disturbed"),
    [(4, 0.4, False), (4, 0.41, True), (1, 3.4, False), (1, 3.41, True), (2, 0.0, False)],
)
def test_other_work_disturbs_once_it_and_the_subject_want_a_tenth_more_than_the_cores(
    threads: int, load: float, disturbed: bool
) -> None:
    assert is_disturbed(load, threads=threads, cores=4) is disturbed


@pytest.mark.parametrize(
    ("count", "low", "high"),
    [(30, 10, 21), (10, 2, 9), (20, 6, 15), (9, 2, 8), (6, 1, 6), (5, 1, 5), (2, 1, 2), (1, 1, 1)],
)
def test_the_interval_of_a_median_ends_at_known_ranks(count: int, low: int, high: int) -> None:
    values = np.random.default_rng(0).permutation(np.arange(1, count + 1))
    assert median_interval(values) == (low, high)
    assert median_interval(values.tolist()) == (low, high)


@pytest.mark.parametrize("count", range(6, 61))
def test_the_interval_is_the_narrowest_symmetric_one_with_at_least_95_percent(count: int) -> None:
    low, high = median_interval(np.arange(1, count + 1))
    assert high == count + 1 - low

    def coverage(rank: int) -> float:
        return 1 - 2 * sum(math.comb(count, below) for below in range(rank)) / 2**count

    assert coverage(int(low)) >= 0.95
    assert coverage(int(low) + 1) < 0.95


@pytest.mark.parametrize("count", [10, 30])
def test_the_interval_holds_the_median_of_a_skewed_distribution_as_often_as_it_says(
    count: int,
) -> None:
    samples = np.random.default_rng(0).lognormal(size=(2000, count))  # its median is 1
    held = np.mean([low <= 1 <= high for low, high in map(median_interval, samples)])
    assert 0.95 <= held <= 0.985


def test_six_processes_are_the_fewest_whose_extremes_hold_the_median() -> None:
    assert 1 - 2 / 2**PROCESSES >= 0.95 > 1 - 2 / 2 ** (PROCESSES - 1)


def test_the_spread_is_half_the_width_of_the_interval_by_the_median() -> None:
    assert spread_within([9.0, 10.0, 10.0, 10.0, 10.0, 14.0]) == 0.25
    ten = [1.0, 9.0, *[10.0] * 6, 12.0, 99.0]
    assert spread_within(ten) == pytest.approx(0.15), "of ten, the second and the ninth"


@pytest.mark.parametrize("count", range(PROCESSES))
def test_fewer_than_six_processes_have_no_interval(count: int) -> None:
    assert spread_within([1.0] * count) == math.inf
    assert estimate_verdict([1.0] * count) == INVALID


@pytest.mark.parametrize(
    ("half_width", "verdict"),
    [(0.0, VALID), (0.0299, VALID), (0.0301, ROUGH), (0.0999, ROUGH), (0.1001, INVALID)],
)
def test_an_estimate_is_valid_within_3_percent_and_rough_within_10(
    half_width: float, verdict: str
) -> None:
    assert estimate_verdict(within(half_width)) == verdict
    assert judge(within(half_width), **QUIET)[0] == verdict


def test_a_ratio_is_the_median_of_the_geometric_means_of_pairs() -> None:
    estimate, low, high = ratio_interval([1.0, 4.0, 16.0])
    assert (estimate, low, high) == (4.0, 1.0, 16.0), "of 1, 2, 4, 4, 8 and 16"


@pytest.mark.parametrize(("count", "outside"), [(5, 0), (6, 0), (7, 2), (8, 3), (10, 8), (20, 52)])
def test_the_interval_of_a_ratio_is_wilcoxons(count: int, outside: int) -> None:
    """As many means stay outside as tables of the signed rank test say, less one."""
    ratios = np.exp(np.random.default_rng(count).normal(size=count))
    means = sorted((a * b) ** 0.5 for n, a in enumerate(ratios) for b in ratios[n:])
    _, low, high = ratio_interval(ratios)
    assert (low, high) == pytest.approx((means[outside], means[-1 - outside]))


@pytest.mark.parametrize("count", [6, 15])
def test_the_interval_of_a_ratio_holds_it_as_often_as_it_says_and_is_narrower(count: int) -> None:
    """One time by another, each with a long tail."""
    first, second = np.random.default_rng(0).lognormal(sigma=0.2, size=(2, 1000, count))
    samples = 3 * first / second
    intervals = np.array([ratio_interval(sample)[1:] for sample in samples])
    held = np.mean((intervals[:, 0] <= 3) & (intervals[:, 1] >= 3))
    assert 0.94 <= held <= 0.98
    order = np.array([median_interval(sample) for sample in samples])
    narrower = np.diff(intervals).mean() / np.diff(order).mean()
    assert narrower <= (1 if count == PROCESSES else 0.9)


@pytest.mark.parametrize(
    ("ratios", "verdict"),
    [([3.0] * 5, INVALID), ([3.0] * 6, VALID), ([2.8, *[3.0] * 4, 3.2], ROUGH)],
)
def test_the_verdict_of_a_ratio_follows_from_its_interval(
    ratios: list[float], verdict: str
) -> None:
    assert ratio_verdict(ratios) == verdict


def test_what_is_valid_has_no_reason_and_what_is_rough_or_wide_tells_its_interval() -> None:
    assert judge(STEADY, **QUIET) == (VALID, "")
    assert judge(within(0.05), **QUIET) == (ROUGH, f"{WIDE} ± 5.0% over 6 processes")
    verdict, reason = judge(within(0.2), **QUIET)
    assert verdict == INVALID
    assert reason == (
        f"{WIDE} ± 20.0% over 6 processes, and ± 10% is asked: give more --series-sec"
    )


def test_the_tail_needs_as_many_calls_as_put_two_above_it_with_99_percent() -> None:
    """MLPerf Inference's early stopping asks for 662 calls at 99 %, and for 64 at 90 %."""

    def at_most_one_above(calls: int, quantile: float) -> float:
        return quantile**calls + calls * (1 - quantile) * quantile ** (calls - 1)

    for calls, quantile in ((TAIL_CALLS, 0.99), (64, 0.9)):
        assert at_most_one_above(calls, quantile) <= 0.01 < at_most_one_above(calls - 1, quantile)


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
        {"values": STEADY[:4], "disturbed": 40, "other_load": 1.53},
        INVALID,
        r"^other work took its cores in 40 turns \(1\.5 cores in the mean\), and only 4 of 6 "
        "processes have one that counts: end that work, or give --threads$",
    ),
    (
        "too few processes",
        {"values": STEADY[:5]},
        INVALID,
        "^only 5 of 6 processes had a turn in its time: give more --series-sec$",
    ),
    (
        "a wide interval",
        {"values": within(0.3)},
        INVALID,
        "± 30.0% over 6 processes.* more --series-sec$",
    ),
    ("a rough interval", {"values": within(0.06)}, ROUGH, "± 6.0% over 6 processes$"),
    ("gaps", {"gaps": True}, ROUGH, "^its device times contain gaps: "),
]


def judged(*findings: dict[str, Any]) -> tuple[str, str]:
    """The verdict where all of these are found; of two series of values, the first counts."""
    merged: dict[str, Any] = {}
    for one in findings:
        merged = one | merged
    return judge(merged.pop("values", STEADY), **QUIET | merged)


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


def test_disturbed_turns_do_no_harm_where_enough_others_count() -> None:
    assert judge(STEADY, other_load=0.5, disturbed=30) == (VALID, "")
