"""Answers from rows whose answers are known: medians, ratios, crossovers, Pareto fronts."""

from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest

from analysis.tables.files import Row
from analysis.timing import comparison
from analysis.timing.comparison import Ratio, crossover, faster_sizes, pareto, times_faster
from analysis.timing.protocol import INVALID, ROUGH, VALID, WIDE
from tests.analysis.timing.session_rows import BEGAN, compared, quoted, series_rows, torchvision


def one(series: pd.DataFrame, subject: str, batch_size: int, device: str = "cpu") -> pd.Series:
    rows = series[
        (series.subject == subject) & (series.batch_size == batch_size) & (series.device == device)
    ]
    assert len(rows) == 1
    return rows.iloc[0]


def test_turns_are_those_of_the_last_session_without_the_quoted_study() -> None:
    old = series_rows("fc", 1, [1.0, 2.0], session=1)
    new = series_rows("fc", 1, [3.0], session=2)
    frame = pd.DataFrame([*old, *quoted(1), *new, *quoted(2)])
    assert comparison.turns(frame).end_to_end_us.tolist() == [3.0]
    assert comparison.turns(frame, session=1).end_to_end_us.tolist() == [1.0, 2.0]


def test_times_an_image_are_in_microseconds_whatever_a_pass_takes() -> None:
    rows = [*series_rows("fc", 1, [6.0], images=1000), *series_rows("fc", 8, [6.0], images=10)]
    turns, _ = compared(rows)
    assert turns.end_to_end_sec.tolist() == pytest.approx([6e-3, 6e-5])
    assert turns.end_to_end_us.tolist() == pytest.approx([6.0, 6.0])
    assert turns.device_us.tolist() == pytest.approx([3.0, 3.0])


def test_the_share_of_the_limit_is_of_the_whole_on_a_cpu_and_of_the_devices_own_time_on_a_gpu() -> (
    None
):
    rows = [
        series_rows("fc", 1, [2.0], device=device, limit_sec=0.25)[0] for device in ("cpu", "cuda")
    ]
    turns, _ = compared(rows)
    assert turns.limit_share.tolist() == [0.25 / 2.0, 0.25 / 1.0]


def test_a_series_is_one_row_of_medians_and_their_intervals() -> None:
    times = [5.0, 1.0, 2.0, 40.0, 3.0, 3.0, 4.0, 2.0, 3.0]
    rows = series_rows(
        "fc", 8, times, verdict="rough", reason="why", threads=4, model="fc", peak_mib=7.0
    )
    _, series = compared([*rows, *series_rows("fc", 64, [9.0])])
    assert series[["subject", "device", "batch_size"]].to_numpy().tolist() == [
        ["fc", "cpu", 8],
        ["fc", "cpu", 64],
    ]
    first = series.iloc[0]
    assert (first.end_to_end_us, first.device_us, first.processes) == (3.0, 1.5, 9)
    assert (first.end_to_end_lower_us, first.end_to_end_upper_us) == (2.0, 5.0)
    assert (first.device_lower_us, first.device_upper_us) == (1.0, 2.5)
    assert first.fast_us == np.quantile(times, 0.1)
    assert first.limit_share == 0.5 / 3.0
    assert (first.verdict, first.reason, first.threads, first.model, first.peak_mib) == (
        "rough",
        "why",
        4,
        "fc",
        7.0,
    )


def test_devices_and_sizes_are_never_mixed() -> None:
    rows = [
        *series_rows("fc", 1, [1.0, 1.0]),
        *series_rows("fc", 1, [3.0, 3.0], device="cuda"),
        *series_rows("fc", 8, [5.0, 5.0]),
    ]
    assert compared(rows)[1].end_to_end_us.tolist() == [1.0, 3.0, 5.0]


def test_the_best_batch_is_the_one_with_the_least_time_an_image_on_each_device() -> None:
    rows = [
        *series_rows("fc", 1, [9.0]),
        *series_rows("fc", 8, [2.0]),
        *series_rows("fc", 64, [3.0]),
        *series_rows("fc", 8, [8.0], device="cuda"),
        *series_rows("fc", 64, [1.0], device="cuda"),
        *series_rows("cnn", 1, [7.0]),
    ]
    found = comparison.best(compared(rows)[1])
    chosen = set(zip(found.subject, found.device, found.batch_size, strict=True))
    assert chosen == {("fc", "cpu", 8), ("fc", "cuda", 64), ("cnn", "cpu", 1)}


def test_the_baseline_is_the_faster_form_of_torchvision_on_that_device() -> None:
    rows = [
        *torchvision(1, [20.0]),
        *torchvision(1, [10.0], subject="torchvision float32"),
        *torchvision(64, [2.0]),
        *torchvision(64, [4.0], subject="torchvision float32"),
        *torchvision(64, [0.1], device="cuda"),
        *series_rows("fc", 1, [0.5]),
    ]
    _, series = compared(rows)

    def found(*arguments: Any) -> tuple[str, int] | None:
        row = comparison.baseline(series, *arguments)
        return None if row is None else (row.subject, row.batch_size)

    assert found("cpu") == ("torchvision uint8", 64)
    assert found("cpu", 1) == ("torchvision float32", 1)
    assert found("cpu", 64) == ("torchvision uint8", 64)
    assert found("cuda") == ("torchvision uint8", 64)
    assert found("cuda", 1) is None
    assert found("cpu", 8) is None


def test_drift_that_hits_both_alike_leaves_the_paired_ratio_exact() -> None:
    """The slow one dies after ten of thirty rounds while the machine gets slower and slower."""
    drift = [1.1**number for number in range(30)]
    turns, series = compared(
        [*series_rows("fc", 8, drift), *torchvision(8, [3 * d for d in drift[:10]])]
    )
    fast, slow = one(series, "fc", 8), one(series, "torchvision uint8", 8)
    ratio = times_faster(turns, fast, slow)
    assert ratio.median == pytest.approx(3)
    assert (ratio.low, ratio.high) == pytest.approx((3, 3))
    assert ratio.pairs == 10
    assert slow.end_to_end_us / fast.end_to_end_us < 1.2, "what unpaired medians make of it"


def test_the_ratio_is_of_pairs_and_not_the_ratio_of_medians() -> None:
    turns, series = compared(
        [*series_rows("fc", 8, [1.0, 10.0, 100.0]), *torchvision(8, [3.0, 20.0, 450.0])]
    )
    fast, slow = one(series, "fc", 8), one(series, "torchvision uint8", 8)
    assert slow.end_to_end_us / fast.end_to_end_us == 2
    assert times_faster(turns, fast, slow) == Ratio(median=3, low=2, high=4.5, pairs=3)
    assert times_faster(turns, slow, fast).median == pytest.approx(1 / 3)


def test_pairs_are_found_by_process_and_moment_and_not_by_the_order_of_rows() -> None:
    fast, slow = series_rows("fc", 8, [1.0, 10.0, 100.0]), torchvision(64, [3.0, 30.0, 300.0])
    turns, series = compared([slow[2], *fast, *slow[:2]])
    ratio = times_faster(turns, one(series, "fc", 8), one(series, "torchvision uint8", 64))
    assert (ratio.median, ratio.low, ratio.high) == pytest.approx((3, 3, 3))


def test_devices_are_compared_by_the_time_end_to_end() -> None:
    rows = [*series_rows("fc", 8, [2.0] * 6, device="cuda"), *torchvision(8, [6.0] * 6)]
    rows += series_rows("fc", 8, [600.0] * 6)
    rows[0]["device_sec"] = 1e-9
    turns, series = compared(rows)
    ratio = times_faster(turns, one(series, "fc", 8, "cuda"), one(series, "torchvision uint8", 8))
    assert ratio == Ratio(median=3, low=3, high=3, pairs=6, verdict=VALID)


def test_a_ratio_is_told_with_three_digits_and_its_interval() -> None:
    assert str(Ratio(12.3456, 0.98765, 1234.0, 30)) == "12.3 [0.988, 1,234]"


SIZES = (1, 8, 64, 250)


def crossing(fc: dict[int, list[float]], **more: Any) -> int | None:
    """Where `fc` with these times crosses a torchvision that takes 10 µs at every size."""
    rows = [row for size in SIZES for row in torchvision(size, [10.0] * 10)]
    rows += [row for size, times in fc.items() for row in series_rows("fc", size, times, **more)]
    return crossover(faster_sizes(*compared(rows), "fc", more.get("device", "cpu")))


def steady(*times: float) -> dict[int, list[float]]:
    return {size: [time] * 10 for size, time in zip(SIZES, times, strict=True)}


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ((20.0, 5.0, 4.0, 3.0), 8),
        ((5.0, 5.0, 4.0, 3.0), 1),
        ((20.0, 30.0, 20.0, 11.0), None),
        ((5.0, 5.0, 5.0, 20.0), None),
        ((5.0, 20.0, 5.0, 5.0), 64),
        ((5.0, 5.0, 20.0, 5.0), 250),
        ((10.0, 10.0, 10.0, 10.0), None),
    ],
    ids=[
        "from 8 on",
        "everywhere",
        "never",
        "not at the largest",
        "broken at 8",
        "broken at 64",
        "as fast",
    ],
)
def test_the_crossover_is_the_size_from_which_on_every_size_is_faster(
    times: tuple[float, ...], expected: int | None
) -> None:
    assert crossing(steady(*times)) == expected


def test_the_order_of_the_rows_does_not_move_the_crossover() -> None:
    times = steady(20.0, 5.0, 4.0, 3.0)
    assert crossing(dict(reversed(times.items()))) == crossing(times) == 8


def test_a_size_whose_interval_touches_1_is_not_faster() -> None:
    times = steady(20.0, 5.0, 4.0, 3.0)
    assert crossing(times | {8: [*[10.0] * 4, *[9.5] * 6]}) == 64, (
        "of ten, the ninth mean of two is the end"
    )
    assert crossing(times | {8: [*[10.0] * 3, *[9.5] * 7]}) == 8


def test_a_size_whose_interval_holds_1_and_is_wide_is_unknown_and_ends_the_crossover() -> None:
    rows = [row for size in SIZES for row in torchvision(size, [10.0] * 10)]
    wide = [5.0, 5.0, *[9.0] * 6, 20.0, 20.0]
    for size, times in (steady(20.0, 5.0, 4.0, 3.0) | {64: wide}).items():
        rows += series_rows("fc", size, times)
    faster = faster_sizes(*compared(rows), "fc", "cpu")
    assert faster == {1: False, 8: True, 64: None, 250: True}
    assert crossover(faster) == 250
    assert crossover(faster | {250: None}) is None
    text = comparison.crossover_text(*compared(rows), "fc", "cpu")
    assert text == "from batch 8 on; unknown at batch 64"


def test_sizes_at_which_torchvision_was_not_measured_say_nothing() -> None:
    assert crossing(steady(20.0, 5.0, 4.0, 3.0) | {1000: [0.1] * 10}) == 8
    assert crossing({1000: [0.1] * 10}) is None


def test_a_subject_is_compared_on_its_own_device_alone() -> None:
    assert crossing(steady(5.0, 5.0, 5.0, 5.0), device="cuda") is None, (
        "torchvision was measured on the CPU"
    )
    rows = [
        *torchvision(1, [10.0] * 10),
        *torchvision(8, [10.0] * 10),
        *series_rows("fc", 8, [5.0] * 10),
    ]
    rows += series_rows("fc", 1, [5.0] * 10, device="cuda")
    assert crossover(faster_sizes(*compared(rows), "fc", "cpu")) == 8, (
        "at batch 1 it was measured on the GPU alone"
    )


def front(
    *rows: tuple[float | None, float | None, float] | tuple[float | None, float | None, float, str],
) -> list[bool]:
    """Which of these are unbeaten: share at 0.95, share at 0.99, µs an image, device."""
    frame = pd.DataFrame(
        [(*row, "cpu")[:4] for row in rows],
        columns=["share_95", "share_99", "end_to_end_us", "device"],
    )
    found = pareto(frame.assign(verdict="valid"))
    assert found.dtype == bool
    return found.tolist()


def test_what_is_worse_in_quality_and_speed_is_beaten() -> None:
    assert front((1.0, 1.0, 10.0), (0.9, 0.9, 1.0), (0.8, 0.8, 2.0)) == [True, True, False]


@pytest.mark.parametrize("better", [(0.91, 0.5, 2.0), (0.9, 0.51, 2.0), (0.9, 0.5, 1.9)])
def test_one_better_number_beats_where_the_others_are_as_good(
    better: tuple[float, float, float],
) -> None:
    assert front((0.9, 0.5, 2.0), better) == [False, True]


@pytest.mark.parametrize("other", [(0.91, 0.49, 1.0), (0.95, 0.6, 2.1), (0.89, 0.6, 1.0)])
def test_one_worse_number_is_enough_not_to_beat(other: tuple[float, float, float]) -> None:
    assert front((0.9, 0.5, 2.0), other) == [True, True]


def test_equals_do_not_beat_each_other() -> None:
    assert front((0.9, 0.5, 2.0), (0.9, 0.5, 2.0), (0.9, 0.5, 2.5)) == [True, True, False]


@pytest.mark.parametrize("unknown", [(None, 1.0, 0.1), (1.0, None, 0.1), (None, None, 0.1)])
def test_an_unknown_quality_neither_wins_nor_beats(
    unknown: tuple[float | None, float | None, float],
) -> None:
    assert front(unknown, (0.9, 0.5, 2.0)) == [False, True]


def test_where_no_quality_is_known_nothing_is_unbeaten() -> None:
    assert front((None, None, 1.0), (None, None, 2.0)) == [False, False]


def test_devices_do_not_beat_each_other() -> None:
    assert front((1.0, 1.0, 1.0, "cuda"), (0.9, 0.9, 2.0, "cpu"), (0.8, 0.8, 3.0, "cpu")) == [
        True,
        True,
        False,
    ]


def test_a_front_keeps_the_rows_own_index() -> None:
    frame = pd.DataFrame(
        {"share_95": [1.0], "share_99": [1.0], "end_to_end_us": [1.0], "device": ["cpu"]}, index=[7]
    )
    assert pareto(frame.assign(verdict="valid")).to_dict() == {7: True}


def test_a_baseline_is_chosen_by_speed_alone_so_that_a_verdict_does_not_move_ratios() -> None:
    _, series = compared(
        [*torchvision(1, [400.0, 400.0]), *torchvision(8, [1.0, 1.0], verdict="invalid")]
    )
    assert comparison.baseline(series, "cpu").batch_size == 8


def test_what_is_invalid_is_on_no_front_and_beats_nobody() -> None:
    rows = [
        *series_rows("slow", 8, [9.0, 9.0]),
        *series_rows("fast", 8, [1.0, 1.0], verdict="invalid"),
    ]
    _, series = compared(rows)
    bests = comparison.best(series)
    assert dict(zip(bests.subject, pareto(bests), strict=True)) == {"slow": True, "fast": False}


def test_series_without_a_common_process_have_no_ratio() -> None:
    turns, series = compared(torchvision(8, [4.0] * 6) + series_rows("fc", 8, [1.0] * 6))
    turns.loc[turns.subject == "fc", "process"] += 100
    ratio = comparison.times_faster(turns, *(series.iloc[n] for n in (1, 0)))
    assert (ratio.pairs, ratio.is_result) == (0, False)
    assert np.isnan([ratio.median, ratio.low, ratio.high]).all()
    assert comparison.faster_sizes(turns, series, "fc", "cpu") == {8: None}
    assert comparison.crossover_text(turns, series, "fc", "cpu") == "unknown: no valid timing"


def by_processes(rows: list[Row], turns: int) -> list[Row]:
    """The same turns, so many of each process."""
    return [row | {"process": (row["turn"] - 1) // turns + 1} for row in rows]


def test_medians_and_intervals_are_over_processes_and_not_over_their_turns() -> None:
    """One process of six, with most of the turns, is fast by chance."""
    rows = series_rows("fc", 8, [1.0] * 20 + [5.0, 6.0, 7.0, 8.0, 9.0])
    rows = [row | {"process": max(1, row["turn"] - 19)} for row in rows]
    first = compared(rows)[1].iloc[0]
    assert (first.processes, first.end_to_end_us) == (6, 6.5)
    assert (first.end_to_end_lower_us, first.end_to_end_upper_us) == (1.0, 9.0)


def test_of_a_process_the_median_of_its_turns_counts() -> None:
    rows = by_processes(series_rows("fc", 8, [1.0, 2.0, 9.0] * 6), turns=3)
    first = compared(rows)[1].iloc[0]
    assert (first.processes, first.end_to_end_us, first.end_to_end_upper_us) == (6, 2.0, 2.0)
    assert first.fast_us == 1.0, "the fast turns, of all processes"


def test_a_ratio_pairs_the_turns_that_are_nearest_in_time() -> None:
    """Each process has a fast and a slow minute; the other subject has two turns in each."""
    fast = by_processes(series_rows("fc", 8, [1.0, 2.0] * 6), turns=2)
    slow = by_processes(torchvision(8, [3.0, 3.0, 6.0, 6.0] * 6), turns=4)
    for rows, apart in ((fast, 60), (slow, 30)):
        for row in rows:
            row["measured_at"] = BEGAN + timedelta(0, apart * row["turn"] + len(rows) % 7)
    turns, series = compared([*slow, *fast])
    ratio = times_faster(turns, one(series, "fc", 8), one(series, "torchvision uint8", 8))
    assert (ratio.median, ratio.low, ratio.high, ratio.pairs) == (3.0, 3.0, 3.0, 6)
    assert ratio.verdict == VALID


def test_disturbed_turns_do_not_count() -> None:
    rows = by_processes(series_rows("fc", 8, [1.0, 1.0, 50.0] * 6), turns=3)
    rows += by_processes(torchvision(8, [3.0, 3.0, 3.0] * 6), turns=3)
    for row in rows:
        row["disturbed"] = row["turn"] % 3 == 0
    turns, series = compared(rows)
    first = one(series, "fc", 8)
    assert (first.end_to_end_us, first.end_to_end_upper_us, first.fast_us) == (1.0, 1.0, 1.0)
    ratio = times_faster(turns, first, one(series, "torchvision uint8", 8))
    assert (ratio.median, ratio.low, ratio.high) == (3.0, 3.0, 3.0)


def test_a_series_whose_every_turn_was_disturbed_is_shown_with_all_of_them() -> None:
    _, series = compared(series_rows("fc", 8, [1.0, 2.0, 3.0], disturbed=True, verdict="invalid"))
    assert (series.iloc[0].end_to_end_us, series.iloc[0].verdict) == (2.0, "invalid")


@pytest.mark.parametrize(
    ("half_width", "verdict"), [(0.029, VALID), (0.031, ROUGH), (0.099, ROUGH), (0.101, INVALID)]
)
def test_a_ratio_is_valid_within_3_percent_and_a_result_within_10(
    half_width: float, verdict: str
) -> None:
    times = [1 - half_width, 1.0, 1.0, 1.0, 1.0, 1 + half_width]
    turns, series = compared([*torchvision(8, times), *series_rows("fc", 8, [0.5] * 6)])
    ratio = times_faster(turns, one(series, "fc", 8), one(series, "torchvision uint8", 8))
    assert (ratio.verdict, ratio.is_result) == (verdict, verdict != INVALID)


def ratio_of(verdict: str | None, reason: str, *, biased: str) -> Ratio:
    """The ratio of two series that drift alike, of which one has this verdict."""
    drift = [1.2**number for number in range(6)]
    found = {"verdict": verdict, "reason": reason}
    slow = torchvision(8, [3 * one for one in drift], **(found if biased == "slow" else {}))
    fast = series_rows("fc", 8, drift, **(found if biased == "fast" else {}))
    turns, series = compared([*slow, *fast])
    return times_faster(turns, one(series, "fc", 8), one(series, "torchvision uint8", 8))


@pytest.mark.parametrize("side", ["slow", "fast"])
def test_a_ratio_with_a_biased_side_is_no_result_and_one_whose_medians_are_wide_is(
    side: str,
) -> None:
    assert ratio_of(INVALID, f"{WIDE} ± 40.0% over 6 processes", biased=side).verdict == VALID
    assert ratio_of(ROUGH, f"{WIDE} ± 8.0% over 6 processes", biased=side).is_result
    biased = ratio_of(INVALID, "the processor lowered its clock", biased=side)
    assert (biased.median, biased.is_result) == (pytest.approx(3), False)


def test_a_ratio_of_a_session_that_was_broken_off_is_no_result() -> None:
    assert not ratio_of(None, "", biased="slow").is_result


def test_a_measurement_says_how_many_processes_its_series_had() -> None:
    rows = [*series_rows("fc", 8, [1.0] * 6), *series_rows("fc", 64, [1.0] * 6)]
    assert comparison.processes(compared(rows)[1]) == "6 processes"
    rows += series_rows("cnn", 8, [1.0] * 9)
    assert comparison.processes(compared(rows)[1]) == "6 to 9 processes"
