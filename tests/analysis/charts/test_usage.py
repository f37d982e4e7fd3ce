"""What a run took of its machines: samples of its trials become steps over time."""

import json

import pandas as pd
import pytest

from analysis.charts import drawing, style
from analysis.charts.usage import PANELS, over_time, usage
from tests.analysis.made_runs import run_row, trial_frame, usage_frame

START = pd.Timestamp("2026-01-02", tz="UTC")


def samples(*rows: tuple[int, float, float], gpu_used: float | None = None) -> pd.DataFrame:
    """Samples of these trials after so many seconds, with their cores, each of 512 MiB."""
    return pd.DataFrame(
        {
            "run": "r",
            "trial": [trial for trial, _, _ in rows],
            "sampled_at": [START + pd.Timedelta(seconds=sec) for _, sec, _ in rows],
            "cpu_cores": [cores for _, _, cores in rows],
            "memory_mib": 512.0,
            "gpu_used": pd.Series([gpu_used] * len(rows), dtype=float),
            "gpu_memory_mib": pd.Series([gpu_used and 2048.0] * len(rows), dtype=float),
        }
    )


def test_trials_that_run_at_once_are_summed_up_and_one_alone_is_itself() -> None:
    used = over_time(samples((0, 2, 1.0), (0, 4, 0.5), (1, 4, 0.25), (1, 6, 1.0)), START)
    assert used.sec.tolist() == [0, 2, 4, 6]
    assert used.cpu_cores.tolist() == pytest.approx([1.0, 0.75, 1.0, 1.0])
    assert used.memory_gib.tolist() == pytest.approx([0.5, 1.0, 0.5, 0.5])


def test_samples_that_come_a_little_late_leave_no_gap_and_no_peak() -> None:
    late = samples(*((0, 2.003 * number, 1.0) for number in range(1, 500)))
    used = over_time(late, START)
    assert len(used) == 201
    assert used.cpu_cores.tolist() == pytest.approx([1.0] * 201, abs=0.01)


def test_while_nobody_trained_nothing_was_taken() -> None:
    used = over_time(samples((0, 2, 1.0), (0, 10, 1.0)), START)
    assert used.cpu_cores.tolist() == pytest.approx([1, 0, 0, 0, 1, 1])


def test_gpus_count_by_their_mean_and_only_where_trials_used_one() -> None:
    rows = pd.concat(
        [samples((0, 2, 1.0), (1, 2, 1.0), gpu_used=0.5), samples((2, 4, 1.0)), samples((0, 6, 1))]
    )
    used = over_time(rows, START)
    assert used.gpu_used[0] == pytest.approx(0.5)
    assert used.gpu_used[1:].isna().all()
    assert used.gpu_memory_gib.tolist() == pytest.approx([4.0, 0, 0, 0])


def test_a_run_without_samples_has_no_steps() -> None:
    used = over_time(samples(), START)
    assert used.empty
    assert {panel.column for panel in PANELS.values()} < set(used.columns)


@pytest.mark.parametrize("name", PANELS)
def test_each_panel_is_drawn_over_the_time_since_the_start(name: str) -> None:
    run = run_row("r")
    rows = usage_frame(trial_frame(run, 8, 2)).assign(gpu_used=0.5, gpu_memory_mib=1000.0)
    used = over_time(rows, pd.Timestamp(run["started_at"]))
    chart = usage(used, PANELS[name])
    svg = drawing.drawn(style.specification(chart))
    assert PANELS[name].title in svg
    assert "Since the start of the run" in svg
    assert "NaN" not in svg
    assert json.dumps(style.page(chart)).count("container") == 1


def test_cores_of_a_made_up_run_add_up_to_what_its_samples_say() -> None:
    run = run_row("r")
    rows = usage_frame(trial_frame(run, 8, 2))
    used = over_time(rows, pd.Timestamp(run["started_at"]))
    seconds = used.sec.diff().shift(-1).fillna(0)
    assert (used.cpu_cores * seconds).sum() == pytest.approx(2.0 * rows.cpu_cores.sum())
