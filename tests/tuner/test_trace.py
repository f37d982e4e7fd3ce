"""Where the seconds of a search went, as Perfetto and chrome://tracing show it."""

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from trainables.errors import UsageError
from tuner import run, trace
from tuner.trace import COMMAND, TrialLanes


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What time it is, as one number that a test sets."""
    now = [100.0]
    monkeypatch.setattr(trace.time, "time", lambda: now[0])
    monkeypatch.setattr(trace, "_spans", [])
    return now


def drawn(path: Path) -> dict[str, tuple[str, float, float]]:
    """The lane, the beginning and the length of each span of a file, in seconds, by its name."""
    events: list[dict[str, Any]] = json.loads(path.read_text())["traceEvents"]
    lanes = {one["tid"]: one["args"]["name"] for one in events if one["ph"] == "M"}
    return {
        one["name"]: (lanes[one["tid"]], one["ts"] / 1e6, one["dur"] / 1e6)
        for one in events
        if one["ph"] == "X"
    }


def test_spans_are_drawn_from_the_first_one_on_in_the_lane_of_their_thread(
    clock: list[float], tmp_path: Path
) -> None:
    def beside() -> None:
        with trace.span("images"):
            clock[0] += 3

    with trace.span("Ray's start"):
        clock[0] += 2
        thread = threading.Thread(target=beside)
        thread.start()
        thread.join()
    trace.write(tmp_path / "trace.json")
    assert drawn(tmp_path / "trace.json") == {
        "Ray's start": (COMMAND, 0, 5),
        "images": (trace.BESIDE, 2, 3),
    }


def test_a_span_that_fails_is_kept(clock: list[float], tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), trace.span("targets"):
        clock[0] += 1 / (clock[0] - 100)
    trace.write(tmp_path / "trace.json")
    assert drawn(tmp_path / "trace.json")["targets"] == (COMMAND, 0, 0)


def test_trials_that_run_at_once_have_lanes_and_the_next_one_takes_that_which_is_free(
    clock: list[float], tmp_path: Path
) -> None:
    lanes = TrialLanes()
    lanes.begin(0)
    lanes.begin(1)
    clock[0] += 5
    lanes.epoch(0, {"epoch": 1, "train_sec": 2.5, "validation_sec": 0.5})
    lanes.end(0, "asha")
    lanes.begin(2)
    clock[0] += 1
    lanes.epoch(2, {"epoch": 1, "train_sec": 9.0, "validation_sec": 9.0})  # another host's clock
    lanes.epoch(1, {"epoch": 1})  # it fails
    trace.write(tmp_path / "trace.json")
    assert drawn(tmp_path / "trace.json") == {
        "trial 0 waits": ("trials, 1", 0, 2),
        "trial 0, epoch 1": ("trials, 1", 2, 3),
        "trial 0 ends: asha": ("trials, 1", 5, 0),
        "trial 2 waits": ("trials, 1", 5, 0),
        "trial 2, epoch 1": ("trials, 1", 5, 1),
        "trial 1 waits": ("trials, 2", 0, 6),
        "trial 1, epoch 1": ("trials, 2", 6, 0),
    }


def test_a_trial_that_is_interrupted_leaves_what_it_was_at(
    clock: list[float], tmp_path: Path
) -> None:
    lanes = TrialLanes()
    lanes.begin(0)
    lanes.begin(1)
    clock[0] += 2
    lanes.epoch(0, {"epoch": 1, "train_sec": 2.0})
    clock[0] += 3
    for trial in (0, 1, 2):  # the last of which never had a process
        lanes.end(trial, "interrupted")
    trace.write(tmp_path / "trace.json")
    spans = drawn(tmp_path / "trace.json")
    assert spans["trial 0 ends: interrupted"] == ("trials, 1", 2, 3)
    assert spans["trial 1 ends: interrupted"] == ("trials, 2", 0, 5)
    assert not any("trial 2" in name for name in spans)


def test_the_wait_for_the_first_trial_s_process_is_one_span_of_the_command(
    clock: list[float], tmp_path: Path
) -> None:
    lanes = TrialLanes()
    lanes.ask()
    clock[0] += 4
    lanes.begin(0)
    clock[0] += 1
    lanes.begin(1)
    lanes.epoch(1, {"epoch": 1})
    trace.write(tmp_path / "trace.json")
    lanes.close()
    spans = drawn(tmp_path / "trace.json")
    assert spans["waiting for the first trial's process"] == (COMMAND, 0, 4)
    assert spans["trial 1 waits"] == ("trials, 2", 5, 0)


def test_a_search_that_ends_before_its_first_trial_shows_what_it_waited_for(
    clock: list[float], tmp_path: Path
) -> None:
    lanes = TrialLanes()
    lanes.ask()
    clock[0] += 4
    lanes.close()
    trace.write(tmp_path / "trace.json")
    assert drawn(tmp_path / "trace.json") == {
        "waiting for the first trial's process": (COMMAND, 0, 4)
    }


@pytest.mark.parametrize("where", ["", "missing/trace.json"])
def test_a_trace_that_has_no_place_is_told_at_once(where: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="give a file, such as"):
        trace.check(str(tmp_path / where))


def test_a_trace_that_could_not_be_written_is_told_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.access", lambda *_: False)  # nothing is forbidden to root
    with pytest.raises(UsageError, match="can't be written; give a file, such as"):
        trace.check(str(tmp_path / "trace.json"))


def test_a_mistake_on_the_command_line_writes_no_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_plan(*_: object) -> None:
        raise UsageError("--start hidden=5: fc has no such value")

    monkeypatch.setattr(run, "_run", no_plan)
    path = tmp_path / "trace.json"
    assert run.main(["--trace", str(path), "--storage", str(tmp_path)]) == 2
    assert not path.exists()


def test_nothing_is_kept_where_nobody_asks_for_a_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace, "_spans", None)
    with trace.span("images"):
        lanes = TrialLanes()
        lanes.begin(0)
        lanes.epoch(0, {"epoch": 1})
    assert trace._spans is None
    trace.begin()
    assert [one.name for one in trace._spans] == ["Python and first imports"]
