"""Rows as they are written: every column filled, and the study's five numbers as it gave them."""

import json
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from analysis.tables.files import publish, rows_of
from analysis.tables.provenance import versions
from analysis.tables.schema import TABLES
from analysis.timing import machine
from analysis.timing.limits import Card, Rates
from analysis.timing.series import Series, TakenTurn
from analysis.timing.subjects import Subject
from analysis.timing.timing_rows import (
    card_row,
    session_facts,
    single_calls,
    study_rows,
    timing_row,
)
from analysis.timing.worker import Circumstances, SeriesPlan, SubjectCheck, Turn

TRIAL = Subject(
    name="trial 7, bfloat16",
    kind="trial",
    engine="eager",
    device="cuda",
    precision="bfloat16",
    model="cnn",
    trial=7,
    weights="w",
)
PIPELINE = Subject(
    name="torchvision uint8", kind="pipeline", engine="torchvision", device="cpu", precision="uint8"
)
CARD = Card(
    parameters=10, flops_per_image=2000, weight_bytes=40, receptive_height=13, receptive_width=12
)
CHECKED = SubjectCheck(
    max_difference=0.01,
    share_95=0.9,
    share_99=0.8,
    differs="",
    memory_format="channels_last",
    card=CARD,
    gpu_model="a GPU",
    driver="1.2",
)
PLAN = SeriesPlan(
    calls=125, first_call_sec=2.5, batch_sec=0.1, bus_sec=0.01, energy_j=9.0, power_w=250.0
)
TURN = Turn(
    device_sec=0.5,
    end_to_end_sec=0.75,
    overlapped_sec=0.6,
    device_gaps=False,
    throttled=True,
    cpu_sec=1.5,
)
FOUND = Circumstances(gpu_processes=2, cpu_clock_mhz=2000.0, gpu_clock_mhz=1980.0, peak_mib=64.0)


def made(subject: Subject = TRIAL, checked: SubjectCheck = CHECKED) -> dict[str, Any]:
    """The row of the third turn of a series, by its second process."""
    series = Series(subject, 8, 2, 8, checked, PLAN, Rates(1e-3, 1.0))
    series.circumstances += [replace(FOUND, peak_mib=1.0), FOUND]
    series.turns += [TakenTurn(1, number, TURN, 0.0, False) for number in (1, 2)]
    series.turns.append(TakenTurn(2, 3, TURN, 0.25, True))
    return timing_row(series)


def test_the_study_gave_five_numbers_for_10000_images(tmp_path: Path) -> None:
    rows = [{"run": "r", "session": 1, **row} for row in study_rows()]
    publish(tmp_path, "timings", "r", rows)
    read = rows_of(tmp_path, "timings", "r")
    assert [
        (row["subject"], row["model"], row["device"], row["end_to_end_sec"]) for row in read
    ] == [
        ("study: transforms image by image", None, "cpu", 0.754),
        ("study: fc", "fc", "cuda", 0.140),
        ("study: fc", "fc", "cpu", 0.131),
        ("study: cnn", "cnn", "cuda", 0.587),
        ("study: cnn", "cnn", "cpu", 2.90),
    ]
    for row in read:
        assert (row["kind"], row["engine"], row["images"]) == ("study", "study", 10_000)
        assert row["reason"].startswith("quoted")
        assert row["verdict"] is row["turn"] is row["batch_size"] is row["cpu_model"] is None


def test_a_turn_with_its_sessions_facts_fills_every_column_but_those_of_the_whole_series(
    tmp_path: Path,
) -> None:
    row = session_facts(seed=5) | made() | {"run": "r", "session": 1}
    row["measured_at"] = datetime.now(UTC)
    columns = {column.name for column in TABLES["timings"]}
    of_series = {"verdict", "reason", "calls", "p50_sec", "p90_sec", "p99_sec"}
    assert set(row) == columns - of_series
    publish(tmp_path, "timings", "r", [row])
    (read,) = rows_of(tmp_path, "timings", "r")
    assert {name for name in columns if read[name] is None} <= of_series | {"commit", "dirty"}


def test_a_turn_is_written_as_it_was_measured() -> None:
    row = made()
    wanted = {
        **{
            name: getattr(TRIAL, name)
            for name in ("kind", "model", "trial", "engine", "precision", "device", "environment")
        },
        **{
            name: value
            for name, value in asdict(TURN).items()
            if name not in ("cpu_sec", "single_sec")
        },
        **asdict(FOUND),
        "subject": "trial 7, bfloat16",
        "memory_format": "channels_last",
        "gpu_model": "a GPU",
        "driver": "1.2",
        "batch_size": 8,
        "turn": 3,
        "process": 2,
        "images": 1000,
        "disturbed": True,
        "bus_sec": 0.01,
        "first_call_sec": 2.5,
        "matrix_gflops": 1e-3,
        "bandwidth_gb_per_sec": 1.0,
        "max_difference": 0.01,
        "share_95": 0.9,
        "share_99": 0.8,
        "other_load": 0.25,
        "energy_j": 9.0,
        "power_w": 250.0,
    }
    assert {name: row[name] for name in wanted} == wanted


def taken(*single_sec: float | None) -> list[TakenTurn]:
    """Turns of single images, each with one call; None is a turn of batches."""
    return [
        TakenTurn(
            1, number, replace(TURN, single_sec=sec if sec is None else np.array([sec])), 0, False
        )
        for number, sec in enumerate(single_sec)
    ]


def test_single_calls_are_told_by_their_quantiles_over_all_turns() -> None:
    found = single_calls(taken(*(0.001 * number for number in range(1, 12))))
    assert found == {
        "calls": 11,
        "p50_sec": pytest.approx(0.006),
        "p90_sec": pytest.approx(0.010),
        "p99_sec": None,
    }
    assert single_calls(taken(None, None)) == {}


@pytest.mark.parametrize(("calls", "is_told"), [(661, False), (662, True)])
def test_the_99_percent_quantile_is_told_from_662_calls_on(calls: int, is_told: bool) -> None:
    found = single_calls(taken(*[0.001] * (calls - 10), *[0.1] * 10))
    assert (found["p99_sec"] is not None) is is_told
    assert found["p50_sec"] == pytest.approx(0.001)
    if is_told:
        assert found["p99_sec"] == pytest.approx(0.1)


def test_the_limit_is_that_of_the_passs_images() -> None:
    assert made()["limit_sec"] == pytest.approx(1000 * 2000 / 1e6), (
        "2,000 operations an image, a million a second"
    )


def test_a_network_is_compared_with_itself_and_all_else_with_the_pipeline() -> None:
    assert made(TRIAL)["compared_with"] == "its eager float32 output"
    assert made(PIPELINE)["compared_with"] == "the pipeline in float32"


def test_a_card_is_one_row_of_its_table(tmp_path: Path) -> None:
    row = card_row(TRIAL, CARD)
    assert row == {"subject": "trial 7, bfloat16", "bytes_per_image": 6208, **asdict(CARD)}
    publish(tmp_path, "cards", "r", [{"run": "r", **row}])
    (read,) = rows_of(tmp_path, "cards", "r")
    assert read == {"run": "r", **row}


def test_without_a_card_the_limit_is_that_of_moving_the_images() -> None:
    without = SubjectCheck(
        **{name: getattr(CHECKED, name) for name in asdict(CHECKED)} | {"card": None}
    )
    assert made(PIPELINE, without)["limit_sec"] == pytest.approx(1000 * 6208 / 1e9)


def test_a_sessions_facts_tell_the_machine_and_the_code() -> None:
    facts = session_facts(seed=5)
    assert (facts["seed"], facts["cores"]) == (5, machine.cores())
    assert json.loads(facts["versions"]) == versions()
    assert facts["host"]
    assert facts["cpu_model"]


def test_a_row_that_lacks_what_the_table_needs_is_refused(tmp_path: Path) -> None:
    row = made() | {"run": "r", "session": 1}
    publish(tmp_path, "timings", "r", [row])
    del row["end_to_end_sec"]
    with pytest.raises(pa.ArrowInvalid, match="non-nullable"):
        publish(tmp_path, "timings", "r", [row])
