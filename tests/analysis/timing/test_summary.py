"""What a person reads after a session, from rows as the table holds them."""

import json
import re
from collections.abc import Sequence
from typing import Any

import pytest

from analysis.console import Console
from analysis.tables.files import Row
from analysis.timing import comparison, summary
from analysis.timing.comparison import QUALITY
from analysis.timing.protocol import WIDE
from tests.analysis.timing.session_rows import compared, quoted, series_rows, torchvision

TIMES = {1: 400.0, 8: 100.0, 1000: 40.0}


def session(**of_fc: Any) -> list[Row]:
    """torchvision, an untrained network and a finalist with its bfloat16; the study's rows too."""
    rows = quoted()
    for size, us in TIMES.items():
        rows += torchvision(size, [us] * 10)
        rows += series_rows(
            "fc", size, [1500 / size] * 10, **({"model": "fc"} | dict.fromkeys(QUALITY) | of_fc)
        )
        trial = {
            "kind": "trial",
            "model": "separable",
            "trial": 3,
            "share_95": 0.99871,
            "share_99": 0.9,
        }
        rows += series_rows("trial 3", size, [us / 4] * 10, **trial)
        rows += series_rows("trial 3, bfloat16", size, [us / 2] * 10, **trial, precision="bfloat16")
    return rows


def card(subject: str, **more: Any) -> Row:
    row = {
        "subject": subject,
        "parameters": 1795,
        "flops_per_image": 113_664,
        "bytes_per_image": 6208,
    }
    return row | {"weight_bytes": 7180, "receptive_height": 13, "receptive_width": 32} | more


def told(
    rows: Sequence[Row], capsys: pytest.CaptureFixture[str], cards: Sequence[Row] = ()
) -> list[str]:
    summary.print_timings(Console(), rows, cards)
    return capsys.readouterr().out.splitlines()


def section(lines: list[str], title: str) -> dict[str, list[str]]:
    """The cells of the table with this title, by their row's name."""
    start = next(number for number, line in enumerate(lines) if line.startswith(title))
    rows = {}
    for line in lines[start + 2 :]:
        cells = re.split(r"\s{2,}", line.strip())
        if len(cells) < 2:
            break
        rows[cells[0]] = cells[1:]
    return rows


def test_all_sections_come_in_order_and_the_last_line_is_json(
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines = told(session(), capsys)
    starts = [
        "Speed on this CPU, 2 threads",
        "single, batched:",
        "Quality and speed on this CPU",
        "fc: faster than",
    ]
    starts += ["10,000 images: the study", "Verdicts: 12 valid", "{"]
    found = [next(n for n, line in enumerate(lines) if line.startswith(start)) for start in starts]
    assert found == sorted(found)
    assert found[-1] == len(lines) - 1
    assert json.loads(lines[-1])["session"] == 1
    assert "medians of 10 processes" in lines[found[0]]


def test_speeds_are_told_at_batch_1_and_at_the_best_batch_fastest_first(
    capsys: pytest.CaptureFixture[str],
) -> None:
    table = section(told(session(), capsys), "Speed on this CPU")
    assert list(table) == ["fc", "trial 3", "trial 3, bfloat16", "torchvision uint8"]
    assert table["trial 3"] == [
        *("100", "10", "0.0%", "1,000", "5"),
        *("40 [40, 40]", "4 [4, 4]", "5.0%"),
    ]
    assert table["fc"] == [
        *("1,500", "1.5", "0.0%", "1,000", "0.75"),
        *("267 [267, 267]", "26.7 [26.7, 26.7]", "33.3%"),
    ]
    assert table["torchvision uint8"] == [
        *("400", "40", "0.0%", "1,000", "20"),
        *("10 [10, 10]", "1 [1, 1]", "1.2%"),
    ]


def test_a_gpu_has_its_own_table_and_is_compared_with_a_cpu_image_by_image(
    capsys: pytest.CaptureFixture[str],
) -> None:
    on_gpu = [
        *torchvision(1000, [8.0] * 10, device="cuda"),
        *series_rows("fc", 1000, [2.0] * 10, device="cuda", model="fc"),
    ]
    lines = told([*session(), *on_gpu], capsys)
    table = section(lines, "Speed on this GPU")
    assert table["fc"] == ["2", "0.0%", "1,000", "1", "200 [200, 200]", "4 [4, 4]", "50.0%"]
    assert [line for line in lines if ": faster than the pipeline" in line] == [
        "fc: faster than the pipeline on this CPU from batch 1,000 on",
        "trial 3: faster than the pipeline on this CPU at every batch size",
        "trial 3, bfloat16: faster than the pipeline on this CPU at every batch size",
        "fc: faster than the pipeline on this GPU at batch 1,000",
    ]


def test_without_torchvision_speeds_are_told_and_nothing_is_compared(
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines = told(
        [*quoted(), *series_rows("fc", 1, [3.0] * 4, model="fc", **dict.fromkeys(QUALITY))], capsys
    )
    assert section(lines, "Speed on this CPU") == {"fc": ["3", "3", "0.0%", "1", "1.5", "16.7%"]}
    assert not any("faster than the pipeline" in line for line in lines)
    assert not any(line.startswith("Quality") for line in lines)
    assert json.loads(lines[-1])["series"][0]["share_95"] is None


def test_verdicts_stand_beside_the_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    rows = session(verdict="invalid", reason="too loud")
    for row in rows:
        if row["subject"] == "trial 3":
            row |= {"verdict": "rough", "reason": "a bit loud"}
    lines = told(rows, capsys)
    table = section(lines, "Speed on this CPU")
    assert [table[name][-1] for name in ("fc", "trial 3")] == ["INVALID", "rough"]
    (verdicts,) = [line for line in lines if line.startswith("Verdicts")]
    assert {"6 valid", "3 rough", "3 invalid"} <= set(re.findall(r"\d+ \w+", verdicts))
    assert "  fc at 1 on cpu; fc at 8 on cpu; fc at 1,000 on cpu: too loud" in lines
    assert not any("a bit loud" in line for line in lines)


def test_each_networks_card_is_told_once_whoever_runs_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    cards = [
        card("fc", parameters=494_480, receptive_height=None, receptive_width=None),
        card("trial 3"),
        card("trial 3, bfloat16"),
        card("of another session"),
    ]
    lines = told(session(), capsys, cards)
    table = section(lines, "Networks without running them")
    assert list(table) == ["fc", "trial 3"]
    assert table["fc"][:4] == ["494,480", "0.114", "7", "unknown"]
    assert table["trial 3"] == ["1,795", "0.114", "7", "13 × 32", "0.5 (cpu)"]
    assert any("6,208 bytes an image" in line for line in lines)
    assert not any("Networks without" in line for line in told(session(), capsys))


def test_invalid_series_are_listed_by_their_reason(capsys: pytest.CaptureFixture[str]) -> None:
    rows = session()
    for row in rows:
        if row["batch_size"] == 8 and row["subject"] != "fc":
            row |= {"verdict": "invalid", "reason": "hot"}
        if row["batch_size"] == 1 and row["subject"] == "fc":
            row |= {"verdict": "invalid", "reason": "loud"}
    lines = told(rows, capsys)
    assert [line for line in lines if line.startswith("  ") and ": " in line] == [
        "  fc at 1 on cpu: loud",
        "  torchvision uint8 at 8 on cpu; trial 3 at 8 on cpu; trial 3, bfloat16 at 8 on cpu: hot",
    ]


def test_quality_stands_beside_speed_where_it_is_known(capsys: pytest.CaptureFixture[str]) -> None:
    table = section(told(session(), capsys), "Quality and speed on this CPU")
    assert table == {
        "trial 3": ["99.8 %", "90.0 %", "1.0e-06", "10", "unbeaten"],
        "trial 3, bfloat16": ["99.8 %", "90.0 %", "1.0e-06", "20"],
        "torchvision uint8": ["100 %", "100 %", "1.0e-06", "40", "unbeaten"],
    }


def test_each_networks_crossover_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        *session(),
        *series_rows("cnn", 8, [900.0] * 10, model="cnn"),
        *series_rows("mine:f", 1, [9.0] * 6, kind="own"),
    ]
    lines = told(rows, capsys)
    assert [line for line in lines if ": faster than the pipeline" in line] == [
        "cnn: faster than the pipeline on this CPU never",
        "fc: faster than the pipeline on this CPU from batch 1,000 on",
        "mine:f: faster than the pipeline on this CPU at batch 1",
        "trial 3: faster than the pipeline on this CPU at every batch size",
        "trial 3, bfloat16: faster than the pipeline on this CPU at every batch size",
    ]
    assert json.loads(lines[-1])["crossover_batch_size"] == {
        "cnn on cpu": None,
        "fc on cpu": 1000,
        "mine:f on cpu": 1,
        "trial 3 on cpu": 1,
        "trial 3, bfloat16 on cpu": 1,
    }


def test_the_study_stands_beside_the_same_measured_here_for_its_10000_images(
    capsys: pytest.CaptureFixture[str],
) -> None:
    faster = {"model": "fc", **dict.fromkeys(QUALITY)}
    rows = [
        *session(),
        *series_rows("fc, compiled", 1000, [0.1] * 10, **faster, engine="torch.compile"),
        *series_rows("fc, bfloat16", 1000, [0.1] * 10, **faster, precision="bfloat16"),
        *series_rows("fc", 1000, [30.0] * 10, **faster, device="cuda", verdict="rough"),
    ]
    lines = told(rows, capsys)
    start = lines.index(next(line for line in lines if line.startswith("10,000 images: the study")))
    assert [re.split(r"\s{2,}", line.strip()) for line in lines[start + 2 : start + 7]] == [
        ["study: transforms image by image", "cpu", "0.754 s", "4.000 s"],
        ["study: fc", "cuda", "0.140 s", "0.300 s rough"],
        ["study: fc", "cpu", "0.131 s", "0.015 s"],
        ["study: cnn", "cuda", "0.587 s", "not measured"],
        ["study: cnn", "cpu", "2.900 s", "not measured"],
    ]


def test_the_json_holds_every_series_and_no_number_that_json_has_not(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    content = json.loads(told(session(), capsys)[-1], parse_constant=refuse)
    assert len(content["series"]) == 12
    assert content["series"][2] == {
        "subject": "trial 3",
        "device": "cpu",
        "batch_size": 1,
        "processes": 10,
        "images": 1_000_000,
        "device_us": 50.0,
        "end_to_end_us": 100.0,
        "end_to_end_lower_us": 100.0,
        "end_to_end_upper_us": 100.0,
        "fast_us": 100.0,
        "limit_share": 0.005,
        **dict.fromkeys(("calls", "p50_sec", "p90_sec", "p99_sec")),
        "first_call_sec": 0.5,
        "max_difference": 1e-6,
        "share_95": 0.99871,
        "share_99": 0.9,
        "verdict": "valid",
    }
    assert content["series"][1]["share_95"] is None


def test_only_the_last_session_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [*torchvision(1, [1.0] * 3, session=1), *torchvision(1, [2.0] * 3, session=2)]
    (series,) = json.loads(told(rows, capsys)[-1])["series"]
    assert series["end_to_end_us"] == 2.0


def test_where_nothing_was_measured_one_line_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert told(quoted(), capsys) == ["Nothing was measured."]


def test_the_short_form_is_the_table_of_speeds_and_its_caveats(
    capsys: pytest.CaptureFixture[str],
) -> None:
    rows = [
        *session(),
        *series_rows("cnn", 1, [9.0], device="cuda", verdict="invalid", reason="hot"),
    ]
    summary.print_timings(Console(), rows)
    lines = capsys.readouterr().out.splitlines()
    assert list(section(lines, "Speed on this CPU")) == [
        "fc",
        "trial 3",
        "trial 3, bfloat16",
        "torchvision uint8",
    ]
    assert list(section(lines, "Speed on this GPU")) == ["cnn"]
    assert lines[-1] == "  cnn at 1 on cuda: hot"
    for absent in ("Quality", "faster than", "study", "{"):
        assert not any(line.startswith(absent) for line in lines)


def test_the_short_form_of_nothing_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    for rows in (quoted(), []):
        assert not summary.print_timings(Console(), rows)
        assert capsys.readouterr().out == "Nothing was measured.\n"


def test_programs_get_what_people_read() -> None:
    turns, series = compared(session())
    content = summary.as_json(turns, series)
    assert [one["end_to_end_us"] for one in content["series"]] == series.end_to_end_us.tolist()


@pytest.mark.parametrize(
    ("faster", "told"),
    [
        ({1: False, 8: False}, "never"),
        ({1: True, 8: True}, "at every batch size"),
        ({8: True}, "at batch 8"),
        ({1: False, 8: True, 64: True}, "from batch 8 on"),
        ({1: False, 8: True, 64: True, 1000: False}, "at batch 8, 64 only"),
        ({1: True, 8: False, 64: True}, "at batch 1, 64 only"),
        ({1: None, 8: True, 64: True}, "from batch 8 on; unknown at batch 1"),
        ({1: True, 8: True, 1000: None}, "from batch 1 on; unknown at batch 1,000"),
        ({1: False, 8: None, 64: None}, "never; unknown at batch 8, 64"),
        ({1: None, 8: None}, "unknown: no valid timing"),
        ({}, "unknown: no batch size at which both were measured"),
    ],
)
def test_where_a_subject_is_faster_is_told_whole(faster: dict[int, bool | None], told: str) -> None:
    assert comparison._when(faster) == told


def test_what_is_no_result_is_no_ratio_and_no_crossover(capsys: pytest.CaptureFixture[str]) -> None:
    lines = told(session(verdict="invalid", reason="loud"), capsys)
    assert "fc: faster than the pipeline on this CPU unknown: no valid timing" in lines
    assert "trial 3: faster than the pipeline on this CPU at every batch size" in lines
    table = section(lines, "Speed on this CPU")
    assert table["fc"][-4:] == ["–", "–", "33.3%", "INVALID"]
    assert table["trial 3"][-3:] == ["40 [40, 40]", "4 [4, 4]", "5.0%"]
    assert json.loads(lines[-1])["crossover_batch_size"]["fc on cpu"] is None


def test_of_a_ratio_with_a_wide_interval_that_alone_is_shown(
    capsys: pytest.CaptureFixture[str],
) -> None:
    drift = [2.0**number for number in range(6)]
    wide = {"verdict": "invalid", "reason": f"{WIDE} ± 90.0% over 6 processes"}
    rows = [
        *torchvision(8, [4 * one for one in drift], **wide),
        *series_rows("fc", 8, drift, **wide),
        *series_rows("cnn", 8, [1.0] * 6),
    ]
    table = section(told(rows, capsys), "Speed on this CPU")
    assert (table["fc"][-3], table["fc"][-1]) == ("4 [4, 4]", "INVALID")
    assert table["cnn"][-2] == "[4, 128]"


def test_the_interval_of_a_median_is_told_by_its_half(capsys: pytest.CaptureFixture[str]) -> None:
    rows = series_rows("fc", 8, [9.5, 10.0, 10.0, 10.0, 10.0, 10.7], verdict="rough")
    assert section(told(rows, capsys), "Speed on this CPU")["fc"][1] == "6.0%"


def test_latency_is_told_as_services_ask_with_images_a_second_at_the_best_batch(
    capsys: pytest.CaptureFixture[str],
) -> None:
    calls = {"calls": 5000, "p50_sec": 2e-5, "p90_sec": 3e-5, "p99_sec": 9e-5}
    rows = [
        *series_rows("fc", 1, [20.0] * 6, **calls),
        *series_rows("fc", 1000, [0.5] * 6),
        *torchvision(1, [400.0] * 6, **calls | {"p50_sec": 4e-4, "p99_sec": None}),
    ]
    table = section(told(rows, capsys), "One image a call on this CPU")
    assert table["fc"] == ["20", "30", "90", "0.5", "2,000,000"]
    assert table["torchvision uint8"] == ["400", "30", "0.5", "2,500"], "too few for the tail"
    assert not any("One image a call" in line for line in told(session(), capsys))


def test_the_ratios_say_what_they_are_ratios_to(capsys: pytest.CaptureFixture[str]) -> None:
    rows = session()
    for row in rows:
        if row["subject"] == "torchvision uint8" and row["batch_size"] == 1:
            row |= {"verdict": "invalid", "reason": "loud"}
    (line,) = [line for line in told(rows, capsys) if line.startswith("single, batched:")]
    assert "on a CPU (torchvision uint8, batch 1, INVALID)" in line
    assert "best batch here (torchvision uint8, batch 1,000)" in line
