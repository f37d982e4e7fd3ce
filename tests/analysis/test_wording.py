"""How values are said to people."""

import math
import subprocess
import sys

import pytest

from analysis.tables.schema import TABLES
from analysis.wording import (
    NAMES,
    count,
    duration,
    interval,
    named,
    number,
    percent_with_interval,
    percent_with_spread,
    short_time,
    shown,
    state_of_run,
)
from trainables.thresholds import percent


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("asha", "stopped by ASHA"),
        ("median", "stopped by the median rule"),
        ("max_epochs", "all epochs"),
        ("early_stopping", "stopped early"),
        ("error", "failed"),
        ("cuda", "GPU"),
        (None, "running"),
        ("kron", "kron"),
    ],
)
def test_values_of_tables_have_names_for_people(value: str | None, said: str) -> None:
    assert named(value) == said


@pytest.mark.parametrize(
    ("table", "column"), [("trials", "stop_reason"), ("runs", "status"), ("runs", "phase")]
)
def test_every_value_that_a_column_may_have_has_a_name(table: str, column: str) -> None:
    meaning = next(one.meaning for one in TABLES[table] if one.name == column)
    values = meaning.split(";")[0].removesuffix(" while it runs").replace(" or ", ", ").split(", ")
    assert len(values) >= 4
    assert set(values) <= set(NAMES)


@pytest.mark.parametrize(
    ("status", "phase", "said"),
    [
        ("running", "timing", "measuring speed"),
        ("running", None, "running"),
        ("finished", None, "finished"),
        ("interrupted", "searching", "interrupted"),
    ],
)
def test_a_run_that_runs_is_said_to_do_what_it_does(
    status: str, phase: str | None, said: str
) -> None:
    assert state_of_run(status, phase) == said


@pytest.mark.parametrize(
    ("fraction", "said"),
    [
        (1.0, "100 %"),
        (0.99999, "99.9 %"),
        (0.99871, "99.8 %"),
        (0.29, "29.0 %"),
        (0.57, "57.0 %"),
        (0.0004, "0.0 %"),
        (0, "0 %"),
    ],
)
def test_a_percentage_is_cut_so_that_only_all_is_100(fraction: float, said: str) -> None:
    assert percent(fraction) == said


@pytest.mark.parametrize(
    ("fraction", "low", "high", "said"),
    [
        (0.9983, 0.9973, 0.9989, "99.8 % [99.7, 99.9]"),
        (0.9999, 0.9994, 0.99998, "99.99 % [99.94, 100]"),
        (1.0, 0.99962, 1.0, "100 % [99.9, 100]"),
        (0.0, 0.0, 0.00038, "0 % [0, 0.1]"),
        (0.5, 0.3, 0.7, "50.0 % [30.0, 70.0]"),
        (0.93, 0.9248, 0.9348, "93.0 % [92.4, 93.5]"),
    ],
)
def test_a_fraction_has_the_decimals_that_its_interval_needs(
    fraction: float, low: float, high: float, said: str
) -> None:
    assert percent_with_interval(fraction, low, high) == said


@pytest.mark.parametrize(
    ("mean", "sd", "said"),
    [
        (0.99, 0.01, "99.0 ± 1.0 %"),
        (0.98, 0.0141, "98.0 ± 1.4 %"),
        (0.9991, 0.0002, "99.91 ± 0.02 %"),
        (1.0, 0.0, "100.0 ± 0.0 %"),
    ],
)
def test_a_mean_has_the_decimals_that_its_deviation_needs(
    mean: float, sd: float, said: str
) -> None:
    assert percent_with_spread(mean, sd) == said


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0.003149, "0.00315"),
        (3.5449, "3.54"),
        (22, "22"),
        (99.96, "100"),
        (100.4, "100"),
        (1340.2, "1,340"),
        (-1340.2, "-1,340"),
        (0, "0"),
    ],
)
def test_numbers_have_three_digits_and_separated_thousands(value: float, said: str) -> None:
    assert number(value) == said


@pytest.mark.parametrize(
    ("sec", "said"),
    [
        (7.95e-6, "7.95 µs"),
        (999.4e-6, "999 µs"),
        (999.7e-6, "1 ms"),
        (1.3402e-3, "1.34 ms"),
        (2.5, "2.5 s"),
        (1234.0, "1,234 s"),
        (0.0, "0 µs"),
    ],
)
def test_a_time_has_the_unit_of_its_size(sec: float, said: str) -> None:
    assert short_time(sec) == said


@pytest.mark.parametrize(
    ("sec", "said"),
    [
        (0, "0:00"),
        (59.4, "0:59"),
        (59.6, "1:00"),
        (90, "1:30"),
        (3700, "1:01:40"),
        (36000, "10:00:00"),
    ],
)
def test_durations_are_minutes_and_seconds(sec: float, said: str) -> None:
    assert duration(sec) == said


def test_one_is_singular() -> None:
    assert [count(amount, "trial") for amount in (0, 1, 1024)] == [
        "0 trials",
        "1 trial",
        "1,024 trials",
    ]


def test_an_interval_has_the_form_of_its_numbers() -> None:
    assert interval(2.163, 1340.2) == "[2.16, 1,340]"


@pytest.mark.parametrize("value", [None, math.nan])
def test_what_is_not_known_is_a_dash(value: float | None) -> None:
    assert shown(value, number) == "–"
    assert shown(3.0, number) == "3"


def test_the_console_waits_for_no_pandas() -> None:
    code = "import sys, analysis.wording; sys.exit('pandas' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
