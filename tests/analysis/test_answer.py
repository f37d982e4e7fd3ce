"""The answer of a run: the rule, its sentence, and what is said of speed."""

from typing import Any

import pytest

from analysis.answer import (
    CLOSELY,
    EXACTLY,
    NO,
    NOT_YET,
    ROUGHLY,
    YES,
    Answer,
    answer,
    speed_in_words,
)
from analysis.quality.spread import wilson
from analysis.tables.files import Row
from analysis.timing.protocol import WIDE
from tests.analysis.made_runs import run_row
from tests.analysis.timing.session_rows import compared, series_rows, torchvision

COMMAND = "python -m analysis.timing --run r"
BEST = {"model": "kron", "trial": 4}
FLOOR = {0.95: 0.35, 0.99: 0.02, "psnr": 13.0}


def scored(subject: str, kind: str, reached: dict[Any, float], images: int = 10_000) -> list[Row]:
    """Rows of `scores` of a subject: shares by threshold, and the mean PSNR ± 0.1 dB."""
    about = {"subject": subject, "kind": kind, "trial": 4 if kind == "trial" else None}
    about |= {"repeat_of": None, "split": "test", "images": images}
    rows = []
    for key, value in reached.items():
        low, high = wilson(value, images) if key != "psnr" else (value - 0.1, value + 0.1)
        metric, threshold = ("psnr", None) if key == "psnr" else ("cosine", key)
        scores = {"metric": metric, "threshold": threshold, "value": value}
        rows.append(about | scores | {"low": low, "high": high})
    return rows


def answered(
    at_95: float, at_99: float, psnr_db: float, floor: dict[Any, float] = FLOOR, **more: Any
) -> Answer:
    mine = {0.95: at_95, 0.99: at_99, "psnr": psnr_db}
    images = more.pop("images", 10_000)
    rows = scored("trial 4", "trial", mine, images) + scored("mean image", "floor", floor, images)
    rows += scored("pipeline's own matrix", "ceiling", {0.95: 1, 0.99: 1, "psnr": 145.4}, images)
    return answer(run_row("r") | {"pipeline": "blur"} | more, BEST, rows, "2 × as fast")


@pytest.mark.parametrize(
    ("reached", "word", "grade", "reply"),
    [
        ((1.0, 1.0, 65.7), YES, EXACTLY, "Yes, exactly"),
        ((1.0, 0.999, 41.0), YES, CLOSELY, "Yes"),
        ((1.0, 0.98, 65.7), YES, ROUGHLY, "Yes, roughly"),
        ((1.0, 1.0, 39.0), YES, ROUGHLY, "Yes, roughly"),
        ((0.94, 0.5, 30.0), NO, "", "No"),
    ],
)
def test_the_answer_goes_by_shares_of_images_and_psnr(
    reached: tuple[float, float, float], word: str, grade: str, reply: str
) -> None:
    found = answered(*reached)
    assert (found.word, found.grade, found.reply) == (word, grade, reply)
    assert found.question == "Can kron replace blur?"


def test_the_sentence_has_n_interval_psnr_and_speed() -> None:
    assert answered(1.0, 0.999, 41.0).sentence == (
        "kron replaces blur: 99.9 % [99.8, 100] of 10,000 test images at cosine ≥ 0.99, 41.0 dB; "
        "2 × as fast."
    )
    assert answered(0.998, 0.5, 28.0).sentence.startswith("kron replaces blur roughly: 99.8 % [")
    assert "at cosine ≥ 0.95, 28.0 dB;" in answered(0.998, 0.5, 28.0).sentence


def test_the_lower_end_of_the_interval_counts() -> None:
    assert answered(0.96, 0.5, 28.0).word == YES
    assert answered(0.96, 0.5, 28.0, images=500).word == NO
    assert answered(1.0, 1.0, 40.05).grade == ROUGHLY  # ± 0.1 dB


def test_a_network_that_is_no_better_than_a_floor_is_no_answer() -> None:
    found = answered(0.98, 0.5, 28.0, floor={0.95: 0.98, 0.99: 0.1, "psnr": 20.0})
    assert (found.word, found.grade) == (NO, "")
    assert "kron does not replace blur: " in found.sentence
    assert "no better than an output that costs nothing (mean image)" in found.sentence


def test_where_a_floor_has_all_images_psnr_decides() -> None:
    floor = {0.95: 1.0, 0.99: 1.0, "psnr": 44.0}
    assert answered(1.0, 1.0, 48.5, floor).grade == CLOSELY
    assert answered(1.0, 1.0, 44.0, floor).word == NO


def test_a_run_is_judged_at_its_own_threshold() -> None:
    rows = scored("trial 4", "trial", {0.97: 0.93, 0.99: 0.5, "psnr": 28.0})
    found = answer(run_row("r") | {"threshold": 0.97}, BEST, rows, "")
    assert found.word == NO
    assert "93.0 % [92.4, 93.5] of 10,000 test images at cosine ≥ 0.97" in found.sentence


def test_reasons_name_what_was_asked_with_floor_and_ceiling() -> None:
    said = " ".join(answered(0.998, 0.5, 28.0).reasons)
    for words in (
        "Roughly asks for 95 % of the images at cosine ≥ 0.95: there are 99.8 % [",
        "Closely asks for 99 % at cosine ≥ 0.99 and a mean PSNR of 40 dB, exactly for 60 dB: "
        "there are 50.0 % [",
        "28.0 dB [27.9, 28.1]",
        "mean image: 35.0 % [",
        "pipeline's own matrix: 100 % [",
    ):
        assert words in said, words


def test_without_a_mean_psnr_it_is_roughly_at_most() -> None:
    rows = scored("trial 4", "trial", {0.95: 1.0, 0.99: 1.0})
    found = answer(run_row("r"), BEST, rows, "")
    assert found.grade == ROUGHLY
    assert "no mean PSNR" in " ".join(found.reasons)


def test_there_is_no_answer_before_the_best_trial_is_measured() -> None:
    of_another = scored("trial 4", "trial", {0.95: 1.0})
    found = answer(run_row("r") | {"status": "running"}, BEST | {"trial": 5}, of_another, "")
    assert found.word == NOT_YET
    assert found.sentence == (
        "The search is running, and its best trial has not been measured on the test images yet."
    )


def test_there_is_no_answer_without_a_trial_that_counts() -> None:
    found = answer(run_row("r") | {"model": "auto"}, None, [], "")
    assert found.word == NOT_YET
    assert found.question == "Can a network replace study?"
    assert "nothing to report yet" in found.sentence


def timed(single_us: float, batched_us: float, luck: float = 0.0, **facts: Any) -> str:
    """What is said of a network against a pipeline of 100 µs singly and 20 µs in batches."""
    waves = [1 + luck * (number % 3 - 1) for number in range(10)]
    rows = torchvision(1, [100.0] * 10) + torchvision(64, [20.0] * 10)
    for size, us in ((1, single_us), (64, batched_us)):
        times = [us * wave for wave in waves]
        rows += series_rows("trial 4", size, times, kind="trial", trial=4, **facts)
    return speed_in_words(*compared(rows), 4, COMMAND)


def test_speed_is_told_in_batches_with_its_interval_and_singly_by_its_side() -> None:
    assert timed(200, 10) == "2 × [2, 2] as fast in batches on the CPU, slower singly"
    assert timed(50, 40) == "0.5 × [0.5, 0.5] as fast in batches on the CPU, faster singly"
    assert timed(100, 20).endswith("on the CPU, as fast singly")


def test_a_rough_timing_is_called_that() -> None:
    assert "] as fast in batches (roughly timed) on the CPU" in timed(50, 10, luck=0.06)


@pytest.mark.parametrize(
    "facts",
    [{"verdict": "invalid", "reason": "the processor lowered its clock"}, {"verdict": None}],
    ids=["invalid", "not judged yet"],
)
def test_what_has_no_valid_timing_is_what_to_type(facts: dict[str, Any]) -> None:
    assert timed(50, 10, **facts) == f"no valid timing yet: type {COMMAND}"


def test_a_wide_ratio_is_in_no_headline_and_neither_is_its_side() -> None:
    for single_us in (90, 20):
        assert timed(single_us, 18, luck=0.4) == f"no valid timing yet: type {COMMAND}"


def test_a_wide_median_whose_ratio_is_narrow_is_a_result() -> None:
    wide = {"verdict": "invalid", "reason": f"{WIDE} ± 20.0% over 10 processes"}
    assert timed(50, 10, **wide).startswith("2 × [2, 2] as fast in batches")


def test_a_run_that_was_not_timed_says_what_to_type_at_the_end() -> None:
    turns, series = compared(torchvision(1, [100.0] * 10))
    said = speed_in_words(turns.head(0), series.head(0), 4, COMMAND)
    assert said == f"no valid timing yet: type {COMMAND}"
    rows = scored("trial 4", "trial", {0.95: 1.0, 0.99: 1.0, "psnr": 50.0})
    assert answer(run_row("r"), BEST, rows, said).sentence.endswith(f"type {COMMAND}")
