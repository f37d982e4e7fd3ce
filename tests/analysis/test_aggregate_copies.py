"""The most complete copy of a run is collected; two runs of one name are never mixed."""

import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from analysis.tables.files import publish
from tests.analysis.collecting import MOMENT, collect, contents, count, epochs, row, search, state

OLDER = {"sessions": 1, "ended_at": MOMENT}, 9
FURTHER = [
    ({"sessions": 2, "ended_at": None}, 3),
    ({"sessions": 1, "ended_at": MOMENT}, 10),
]


@pytest.mark.parametrize(("facts", "epoch_count"), FURTHER, ids=["sessions", "rows"])
@pytest.mark.parametrize("out_has", ["nothing", "older", "further"])
@pytest.mark.parametrize("order", ["ab", "ba"])
def test_the_most_complete_state_of_a_run_wins_wherever_it_lies(
    tmp_path: Path, facts: dict[str, Any], epoch_count: int, out_has: str, order: str
) -> None:
    a, b, out = (tmp_path / name for name in ("a", "b", "out"))
    search(a, count=OLDER[1], **OLDER[0])
    search(b, count=epoch_count, **facts)
    if out_has != "nothing":
        shutil.copytree(a if out_has == "older" else b, out)
    assert collect(*([a, b] if order == "ab" else [b, a]), out) == 0
    assert contents(out) == contents(b)


def test_an_ended_run_is_further_than_one_with_more_rows_that_goes_on(tmp_path: Path) -> None:
    a, b, out = (tmp_path / name for name in ("a", "b", "out"))
    search(a, count=9, ended_at=None)
    search(b, count=3)
    assert collect(a, b, out) == 0
    assert contents(out) == contents(b)


def test_an_older_copy_never_overwrites_what_is_there(tmp_path: Path) -> None:
    a, out = tmp_path / "a", tmp_path / "out"
    search(out, count=9)
    search(a, count=3)
    before = state(out)
    assert collect(a, out) == 0
    assert state(out) == before


@pytest.mark.parametrize("order", ["ab", "ba"])
def test_of_two_equal_states_the_source_given_first_wins(tmp_path: Path, order: str) -> None:
    for name in "ab":
        search(tmp_path / name)
        publish(tmp_path / name / "tables", "cards", "fc", [row("cards", subject=name)])
    search(tmp_path / "out")
    assert collect(*(tmp_path / name for name in order), tmp_path / "out") == 0
    assert contents(tmp_path / "out") == contents(tmp_path / order[0])


@pytest.mark.parametrize(
    "fact",
    [{"started_at": MOMENT + timedelta(seconds=1)}, {"host": "other"}, {"seed": 7}],
    ids=["start", "host", "seed"],
)
@pytest.mark.parametrize("place", ["source", "out"])
def test_two_runs_of_one_name_are_told_with_both_places_and_not_mixed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], fact: dict[str, Any], place: str
) -> None:
    a, b, out = (tmp_path / name for name in ("a", "b", "out"))
    other = b if place == "source" else out
    search(a)
    search(a, "cnn")
    search(other, count=9, **fact)
    before = contents(out)
    assert collect(*([a, b] if place == "source" else [a]), out) == 1
    told = capsys.readouterr().err
    assert told.count("error") == 1
    for part in (
        f"fc in {a} (",
        f"in {other} (",
        "two runs of one name",
        "another directory with --out",
    ):
        assert part in told
    assert contents(out) == before | {
        name: data for name, data in contents(a).items() if "run=cnn" in name
    }


def timing_only(storage: Path, moments: int, **facts: Any) -> None:
    """The study's quoted row comes first and tells nothing of the machine."""
    quoted = row("timings", measured_at=None, host=None, seed=None, batch_size=None)
    measured = [row("timings", **facts) | {"turn": number} for number in range(moments)]
    publish(storage / "tables", "timings", "fc", [quoted, *measured])


def test_a_timing_without_a_search_is_known_by_its_first_measurement(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b, c, out = (tmp_path / name for name in ("a", "b", "c", "out"))
    timing_only(a, 2)
    timing_only(b, 5)
    timing_only(c, 9, measured_at=MOMENT + timedelta(seconds=1))
    assert collect(a, b, out) == 0
    assert contents(out) == contents(b)
    assert collect(c, out) == 1
    assert "two runs of one name" in capsys.readouterr().err
    assert contents(out) == contents(b)


def test_a_timing_that_does_not_tell_what_it_is_never_wins_over_one_that_does(
    tmp_path: Path,
) -> None:
    a, b, out = (tmp_path / name for name in ("a", "b", "out"))
    timing_only(a, 2)
    publish(b / "tables", "cards", "fc", [row("cards", subject=name) for name in "abcdef"])
    assert collect(b, a, out) == 1
    assert contents(out) == contents(a)


def test_a_copy_that_does_not_tell_which_run_it_is_is_collected_only_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b, out = (tmp_path / name for name in ("a", "b", "out"))
    search(a, count=3)
    publish(b / "tables", "epochs", "fc", epochs(9))
    assert collect(b, out) == 0
    assert count(out) == 9
    for places in ([a, b], [b, a]):
        assert collect(*places, out) == 1
        told = capsys.readouterr().err
        assert f"the run fc in {b} has no readable row" in told
        assert f"the one in {a} (" in told
        assert contents(out) == contents(a)
