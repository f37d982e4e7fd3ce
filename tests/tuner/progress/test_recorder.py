"""From what Ray Tune reports to tables and console; the rest is tested with the command."""

import itertools
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from analysis.console import Console
from analysis.tables.schema import TABLES
from tests.analysis.made_runs import run_row
from tests.waiting import until
from trainables.goal import USUAL
from tuner.progress import rows as rows_module
from tuner.progress.lines import TrialLines
from tuner.progress.recorder import Recorder, tracker
from tuner.progress.rows import RunRow, RunRows
from tuner.storage.run_storage import RunStorage

PROPOSAL = {
    "repeat_of": None,
    "model": "separable",
    "loss": "perceptual",
    "learning_rate": 0.01,
    "dropout": None,
    "patience": 3,
    "parameters": {"hidden": 64},
    "seed": 1,
}
EPOCH = {
    "train_loss": 1.0, "validation_loss": 1.0, "validation_accuracy": 0.5,
    "validation_cosine": 0.9,
    "validation_score": None, "train_sec": 1.0, "validation_sec": 0.1, "images_per_sec": 10.0,
    "stop_reason": "", "peak_mib": 100.0, "device": "cpu", "precision": "float32",
    "precision_reason": "as asked", "threads": 1, "host": "here", "start_sec": 0.1,
    "reused_process": False, "compiled": False, "perceptual_batch": 4, "fallback": "",
}  # fmt: skip


@pytest.fixture
def recorder(tmp_path: Path) -> Recorder:
    rows = RunRows(RunStorage(str(tmp_path), "run"), USUAL)
    lines = TrialLines(Console(), USUAL, samples=3)
    return Recorder(rows, lines, tracker("disabled", "run", tmp_path, Console()))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What the rows take for the time: one number that a test sets."""
    now = [50.0]
    monkeypatch.setattr(rows_module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    return now


def report(recorder: Recorder, number: int, epoch: int, **more: Any) -> None:
    trial: Any = SimpleNamespace(
        config={**PROPOSAL, "number": number}, run_metadata=SimpleNamespace(num_failures=0)
    )
    if epoch == 1:
        recorder.on_trial_start(0, [], trial)
    recorder.on_trial_result(0, [], trial, {**EPOCH, "epoch": epoch, **more})


def test_the_images_of_a_pass_through_vgg16_are_those_of_the_last_epoch(recorder: Recorder) -> None:
    report(recorder, 0, 1)
    report(recorder, 0, 2, perceptual_batch=2)
    assert [row["perceptual_batch"] for row in recorder.rows.trials] == [2]


def test_what_trials_had_to_do_without_is_told_once_whenever_it_turns_out(
    recorder: Recorder, capsys: pytest.CaptureFixture[str]
) -> None:
    report(recorder, 0, 1)
    assert "without" not in capsys.readouterr().out
    problem = "without CUDA graphs (operation not permitted)"
    report(recorder, 0, 2, fallback=problem)
    told = capsys.readouterr().out
    assert (
        "trial   0  on here trains without CUDA graphs (operation not permitted), so slower" in told
    )
    report(recorder, 0, 3, fallback=problem)
    report(recorder, 1, 1, fallback=problem)
    assert "without" not in capsys.readouterr().out
    report(recorder, 2, 1, fallback="without torch.compile (no C++ compiler here; install g++)")
    assert (
        "trial   2  on here trains without torch.compile (no C++ compiler here"
        in capsys.readouterr().out
    )


def test_samples_that_a_report_takes_along_are_rows_by_the_clock_of_the_search(
    recorder: Recorder, tmp_path: Path
) -> None:
    sample = {"cpu_cores": 0.9, "memory_mib": 300.0, "gpu_used": None, "gpu_memory_mib": None}
    before = datetime.now(UTC)
    report(recorder, 0, 1)
    report(recorder, 0, 2, usage=[{"age_sec": 3600, **sample}, {"age_sec": 1800, **sample}])
    recorder.close()
    first, second = RunStorage(str(tmp_path), "run").rows("usage")
    assert before <= first["sampled_at"] + timedelta(hours=1) <= datetime.now(UTC)
    since = second["sampled_at"] - first["sampled_at"]
    assert since.total_seconds() == pytest.approx(1800, abs=60)
    assert {name: first[name] for name in sample} == sample
    assert (first["run"], first["trial"]) == ("run", 0)


def test_a_row_that_was_not_due_is_written_before_the_next_one_comes(
    recorder: Recorder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = SimpleNamespace(monotonic=itertools.count().__next__)
    monkeypatch.setattr("analysis.tables.files.time", ticks)
    run = RunStorage(str(tmp_path), "run")
    report(recorder, 0, 1)
    assert run.rows("epochs") == []
    for _ in range(100):
        recorder.on_step_end(0, [])
    assert len(run.rows("epochs")) == 1


def test_what_is_left_follows_from_epochs_of_trials_that_ended_and_the_rate_of_this_session(
    recorder: Recorder, clock: list[float]
) -> None:
    rows = recorder.rows
    report(recorder, 0, 1)
    clock[0] += 4
    assert rows.left_sec(6) is None, "no trial has ended"
    for epoch in range(2, 5):
        report(recorder, 0, epoch)
    report(recorder, 1, 1)
    report(recorder, 2, 1)
    recorder.end(0, "max_epochs")
    recorder.end(1, "asha")
    clock[0] += 8
    # Six epochs in 12 s; of 2.5 a trial, three trials are left and most of the one that runs
    assert rows.left_sec(6) == pytest.approx((3 * 2.5 + 1.5) * 12 / 6)
    assert rows.left_sec(2) == pytest.approx(1.5 * 12 / 6)
    for epoch in range(2, 4):
        report(recorder, 2, epoch)
    assert rows.left_sec(3) is None, "the last trial trains longer than those before it did"
    recorder.end(2, "max_epochs")
    assert rows.left_sec(3) is None, "what runs now repeats finalists"


def test_a_resumed_search_knows_no_rate_before_its_first_epoch(tmp_path: Path) -> None:
    storage = RunStorage(str(tmp_path), "run")
    ended = {**dict.fromkeys(column.name for column in TABLES["trials"]), "trial": 0, "epochs": 0}
    rows = RunRows(storage, USUAL, [{**ended, "stop_reason": "asha"}])
    assert rows.left_sec(6) is None


def test_the_run_says_its_phase_at_once_and_what_is_left_now_and_then(tmp_path: Path) -> None:
    storage = RunStorage(str(tmp_path), "run")
    row = RunRow(storage, run_row("run"))
    row.say(phase="searching")

    def said() -> tuple[Any, Any]:
        (found,) = storage.rows("runs")
        return found["phase"], found["left_sec"]

    assert said() == ("searching", None)
    assert row.left_is_due
    until(lambda: row.expect(90.0) or said() == ("searching", 90.0))
    assert not row.left_is_due
    row.say(phase="evaluating")
    assert said() == ("evaluating", None)


def test_the_progress_line_says_what_is_left_before_a_narrow_terminal_cuts_it(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[str] = []
    monkeypatch.setattr(Console, "progress_is_due", True)
    monkeypatch.setattr(Console, "progress", lambda console, text: shown.append(text))
    report(recorder, 0, 1)
    recorder.end(0, "asha")
    report(recorder, 1, 1)
    assert " left" in shown[-1][:60]
    assert "best: trial 0" in shown[-1]


def test_the_progress_line_says_when_finalists_are_trained_again(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[str] = []
    monkeypatch.setattr(recorder._lines._console, "progress", shown.append)
    monkeypatch.setattr(Console, "progress_is_due", True)
    report(recorder, 0, 1)
    assert shown[-1].startswith("0/3 trials done, 1 running")
    recorder.end(0, "max_epochs")
    again = SimpleNamespace(config={**PROPOSAL, "number": 3, "repeat_of": 0})
    recorder.on_trial_start(0, [], again)
    recorder._lines.progress(recorder.rows)
    assert shown[-1].startswith("other seeds: 0 trials done, 1 running")


def test_a_search_tells_its_run_what_is_left(recorder: Recorder) -> None:
    told: list[float | None] = []
    recorder._run = SimpleNamespace(left_is_due=True, expect=told.append)  # type: ignore[assignment]
    report(recorder, 0, 1)
    recorder.end(0, "asha")
    report(recorder, 1, 1)
    assert told[0] is None
    assert told[1] is not None
    assert told[1] > 0
