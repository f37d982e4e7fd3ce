"""Runs from several places become one data set, whatever happens meanwhile."""

import csv
import os
import shutil
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from filelock import FileLock

from analysis.aggregate import main
from analysis.tables.files import publish, read
from analysis.tables.schema import TABLES, arrow_schema
from tests.analysis.collecting import (
    MOMENT,
    collect,
    contents,
    count,
    file_of,
    row,
    search,
    spoil,
    state,
)
from tests.waiting import until

COMMAND = [sys.executable, "-m", "analysis.aggregate"]


def test_runs_of_several_storages_lie_in_one_as_they_were(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b, out = tmp_path / "a", tmp_path / "b", tmp_path / "new" / "out"
    search(a, "fc", 3)
    search(a, "cnn", 4)
    search(b, "sep", 5)
    (file_of(a, "epochs").parent / ".epochs.parquet.part").write_bytes(b"half")
    (a / "tables" / "epochs" / "notes.txt").write_text("mine")
    assert collect(a, b, out) == 0
    (a / "tables" / "epochs" / "notes.txt").unlink()
    (file_of(a, "epochs").parent / ".epochs.parquet.part").unlink()
    assert contents(out) == contents(a) | contents(b)
    assert len(read(out / "tables", "epochs")) == 12
    told = capsys.readouterr().out
    assert "Runs: 3, with something new: 3. Files collected: 24, unchanged: 0. Problems: 0." in told
    assert f"python -m analysis.dashboard {out}" in told


def test_runs_whose_pipelines_share_a_name_and_no_outputs_are_told_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a, out = tmp_path / "a", tmp_path / "out"
    outputs = [
        bytes(8),
        np.array([0.00001, 0], "<f4").tobytes(),
        np.array([0.1, 0], "<f4").tobytes(),
    ]
    named = {"pipeline": "mine.py:blur", "output_low": 0.0, "output_high": 1.0}
    for number, probes in enumerate(outputs):
        started = MOMENT + timedelta(days=number)
        search(a, f"run-{number}", 1, probe_outputs=probes, started_at=started, **named)
    search(a, "other", 1, probe_outputs=bytes(12), **named | {"pipeline": "mine.py:other"})
    line = (
        "mine.py:blur gives other outputs in run-2 than in run-0, run-1: "
        "these are tasks of their own, never pooled"
    )
    assert collect(a, out) == 0
    assert capsys.readouterr().out.count(line) == 1
    for folder in a.glob("tables/*/run=run-2"):
        shutil.rmtree(folder)
    assert collect(a, out) == 0
    assert line in capsys.readouterr().out  # of what was collected before, too


def test_collecting_again_rewrites_no_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a, out = tmp_path / "a", tmp_path / "out"
    search(a)
    publish(a / "tables", "trials", "old", [row("trials", "old")])
    assert collect(a, out, more=("--csv",)) == 0
    before = state(out)
    assert len(before) == len(TABLES) + 1 + len(TABLES)
    assert collect(a, out, more=("--csv",)) == 0
    assert state(out) == before
    assert (
        "Runs: 2, with something new: 0. Files collected: 0, unchanged: 9. Problems: 0."
        in capsys.readouterr().out
    )
    search(a, "fc", 4)
    assert collect(a, out) == 0
    changed = {name for name, there in state(out).items() if there != before[name]}
    assert changed == {"tables/epochs/run=fc/epochs.parquet"}


def test_a_directory_of_tables_is_a_source_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    search(tmp_path / "a")
    monkeypatch.chdir(tmp_path / "a")
    for number, source in enumerate(("tables", "./tables/", ".", str(tmp_path / "a" / "tables"))):
        assert main([source, "--out", str(tmp_path / str(number))]) == 0
        assert contents(tmp_path / str(number)) == contents(tmp_path / "a")


def test_a_file_with_a_problem_is_left_out_and_the_rest_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a, out = tmp_path / "a", tmp_path / "out"
    search(a, "fc")
    search(a, "cnn")
    problem = spoil(a)
    assert collect(a, out) == 1
    assert capsys.readouterr().err == f"error: {problem}\n"
    name = "epochs/run=fc/epochs.parquet"
    assert contents(out) == {path: data for path, data in contents(a).items() if path != name}


@pytest.mark.parametrize(
    "damage", [spoil, lambda a: file_of(a, "epochs").write_bytes(b"x")], ids=["value", "cut"]
)
def test_what_was_collected_before_stays_for_a_file_that_got_a_problem(
    tmp_path: Path, damage: Any
) -> None:
    a, out = tmp_path / "a", tmp_path / "out"
    search(a, count=30)
    collect(a, out)
    before = contents(out)
    publish(a / "tables", "cards", "fc", [row("cards", subject=name) for name in "abc"])
    damage(a)
    assert collect(a, out) == 1
    assert contents(out) == before | {
        "cards/run=fc/cards.parquet": file_of(a, "cards").read_bytes()
    }


def test_a_damaged_copy_in_out_is_mended_from_the_source_or_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a, out = tmp_path / "a", tmp_path / "out"
    search(a)
    collect(a, out)
    for table in ("epochs", "runs"):
        file_of(out, table).write_bytes(b"cut")
        assert collect(a, out) == 0
        assert contents(out) == contents(a)
    file_of(out, "epochs").write_bytes(b"cut")
    file_of(a, "epochs").unlink()
    capsys.readouterr()
    assert collect(a, out) == 1
    assert f"{file_of(out, 'epochs')}: can't be read" in capsys.readouterr().err


@pytest.mark.parametrize("broken", [{"started_at": None}, {"sessions": None, "host": None}])
def test_nulls_where_a_run_tells_what_it_is_are_a_problem_like_any_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], broken: dict[str, Any]
) -> None:
    a, out = tmp_path / "a", tmp_path / "out"
    search(a)
    collect(a, out)
    schema = arrow_schema("runs")
    fields = pa.schema([field.with_nullable(True) for field in schema], schema.metadata)
    pq.write_table(pa.Table.from_pylist([row("runs", **broken)], fields), file_of(a, "runs"))
    before = contents(out)
    assert collect(a, out) == 1
    assert "row 1: is null" in capsys.readouterr().err
    assert contents(out) == before


def test_a_run_from_before_a_column_came_is_collected_with_all_columns(tmp_path: Path) -> None:
    a, out = tmp_path / "a", tmp_path / "out"
    search(a)
    older = pq.read_table(file_of(a, "runs"), partitioning=None).drop_columns(["given"])
    pq.write_table(older, file_of(a, "runs"))
    assert collect(a, out) == 0
    assert pq.read_schema(file_of(out, "runs")).names == arrow_schema("runs").names
    before = contents(out)
    assert collect(a, out) == 0
    assert contents(out) == before


def test_csv_files_hold_every_run_of_out_without_images(tmp_path: Path) -> None:
    a, b, out = (tmp_path / name for name in ("a", "b", "out"))
    search(a, "fc", 3)
    search(b, "cnn", 2, commit='a "quoted",\ntext')
    assert collect(b, out) == 0
    assert not (out / "csv").exists()
    assert collect(a, out, more=("--csv",)) == 0
    assert sorted(path.name for path in (out / "csv").iterdir()) == sorted(
        f"{table}.csv" for table in TABLES
    )
    told = pd.read_csv(out / "csv" / "epochs.csv", parse_dates=["reported_at"])
    assert told.columns.tolist() == [column.name for column in TABLES["epochs"]]
    assert told.run.tolist() == ["cnn"] * 2 + ["fc"] * 3
    assert told.validation_accuracy.tolist() == [0.5] * 5
    assert set(told.reported_at) == {pd.Timestamp(MOMENT)}
    assert pd.read_csv(out / "csv" / "runs.csv").commit.tolist() == ['a "quoted",\ntext', "text"]
    images = {"input", "truth", "output"}
    assert (
        set(pd.read_csv(out / "csv" / "samples.csv"))
        == {c.name for c in TABLES["samples"]} - images
    )


def test_a_file_that_can_not_be_used_is_told_and_its_rows_are_in_no_csv_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a, out = tmp_path / "a", tmp_path / "out"
    search(a)
    assert collect(a, out, more=("--csv",)) == 0
    search(a, "late", 5)
    copied = file_of(out, "epochs", "backup")
    shutil.copytree(file_of(out, "epochs").parent, copied.parent)
    assert collect(a, out, more=("--csv",)) == 1
    problem = (
        f"{copied}: column run, row 1: is fc, should be backup as its folder says; "
        "so are 2 more rows"
    )
    assert capsys.readouterr().err == (
        f"error: {problem}\n"
        f"error: {out}/csv/epochs.csv is without the rows of {problem}; "
        "put a sound copy in its place, or move it away\n"
    )
    for table in ("runs", "epochs"):
        assert set(pd.read_csv(out / "csv" / f"{table}.csv").run) == {"fc", "late"}


def test_the_copy_of_a_run_beside_it_is_left_out_and_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a, out = tmp_path / "a", tmp_path / "out"
    search(a)
    before = contents(a)
    for table in TABLES:
        shutil.copytree(file_of(a, table).parent, file_of(a, table, "backup").parent)
    assert collect(a, out) == 1
    assert contents(out) == before
    told = capsys.readouterr().err.splitlines()
    assert [line.partition(":")[2].partition(": column run, ")[0].strip() for line in told] == [
        str(file_of(a, table, "backup")) for table in TABLES
    ]


LIMITED = """
import resource, signal, sys
from analysis.aggregate import main
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
signal.signal(signal.SIGXFSZ, {handler})
sys.exit(main(sys.argv[1:]))
"""
BREAKING_OFF = pytest.mark.parametrize(
    ("handler", "status"),
    [("signal.SIG_IGN", 1), ("signal.SIG_DFL", -signal.SIGXFSZ)],
    ids=["full disk", "killed"],
)


def collect_within_the_limit(
    source: Path, out: Path, handler: str
) -> subprocess.CompletedProcess[str]:
    """Collect in a process whose files may only have 100 kB."""
    command = [
        sys.executable,
        "-c",
        LIMITED.format(handler=handler),
        str(source),
        "--out",
        str(out),
        "--csv",
    ]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


@BREAKING_OFF
def test_a_writing_that_breaks_off_leaves_the_old_file_and_is_made_up_for_later(
    tmp_path: Path, handler: str, status: int
) -> None:
    a, out = tmp_path / "a", tmp_path / "out"
    search(a)
    collect(a, out)
    before = contents(out)["samples/run=fc/samples.parquet"]
    images = [row("samples", image=number, input=os.urandom(50_000)) for number in range(9)]
    publish(a / "tables", "samples", "fc", images)
    done = collect_within_the_limit(a, out, handler)
    assert done.returncode == status
    assert file_of(out, "samples").read_bytes() == before
    if status == 1:
        assert done.stderr.startswith(f"error: {out} did not take everything ([Errno 27]")
        assert done.stderr.count("\n") == 1
    assert collect(a, out) == 0
    assert contents(out) == contents(a)


@BREAKING_OFF
def test_a_csv_file_that_breaks_off_leaves_the_old_one(
    tmp_path: Path, handler: str, status: int
) -> None:
    a, out = tmp_path / "a", tmp_path / "out"
    search(a)
    collect(a, out, more=("--csv",))
    before = (out / "csv" / "epochs.csv").read_bytes()
    search(a, count=2000)  # compresses well, and is 200 kB of text
    assert collect_within_the_limit(a, out, handler).returncode == status
    assert count(out) == 2000
    assert (out / "csv" / "epochs.csv").read_bytes() == before
    assert collect(a, out, more=("--csv",)) == 0
    assert len(pd.read_csv(out / "csv" / "epochs.csv")) == 2000


def test_a_search_may_write_while_its_tables_are_collected(tmp_path: Path) -> None:
    a, out, enough = tmp_path / "a", tmp_path / "out", tmp_path / "enough"
    search(a, count=1)
    code = f"""
import itertools
from pathlib import Path
from analysis.tables.files import publish
from tests.analysis.collecting import epochs
for size in itertools.count(1):
    publish(Path({str(a / "tables")!r}), "epochs", "fc", epochs(size))
    if Path({str(enough)!r}).exists():
        break
"""
    seen: list[int] = []
    with subprocess.Popen([sys.executable, "-c", code]) as writer:
        while writer.poll() is None:
            assert collect(a, out) == 0
            seen.append(count(out))
            if len(set(seen)) > 3:
                enough.touch()
    assert writer.returncode == 0
    assert seen == sorted(seen)


@pytest.mark.parametrize(
    ("out", "sentence"),
    [
        ("{tmp}/file", "--out {tmp}/file can't be a directory (File exists): type another one"),
        (
            "{tmp}/file/x",
            "--out {tmp}/file/x can't be a directory (Not a directory): type another one",
        ),
        ("s3://bucket/x", "--out is s3://bucket/x, should be a directory on this machine"),
    ],
)
def test_an_out_that_cannot_be_one_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], out: str, sentence: str
) -> None:
    search(tmp_path / "a")
    (tmp_path / "file").write_text("")
    assert main([str(tmp_path / "a"), "--out", out.format(tmp=tmp_path)]) == 2
    assert capsys.readouterr().err == f"error: {sentence.format(tmp=tmp_path)}\n"


def test_an_out_that_another_process_collects_into_is_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a, out = tmp_path / "a", tmp_path / "out"
    search(a)
    out.mkdir()
    with FileLock(out / ".lock"):
        assert collect(a, out) == 2
    assert (
        capsys.readouterr().err
        == f"error: another process is collecting into {out}: wait for it to end\n"
    )
    assert contents(out) == {}


def test_the_command_tells_problems_and_ends_with_their_status(tmp_path: Path) -> None:
    a, out = tmp_path / "a", tmp_path / "out dir"
    search(a)
    problem = spoil(a)
    done = subprocess.run(
        [*COMMAND, str(a), "--out", str(out)], capture_output=True, text=True, timeout=300
    )
    assert (done.returncode, done.stderr) == (1, f"error: {problem}\n")
    assert done.stdout == (
        "Runs: 1, with something new: 1. Files collected: 7, unchanged: 0. Problems: 1.\n"
        f"They lie in {out}. To look at them: python -m analysis.dashboard '{out}'\n"
    )
    assert subprocess.run([*COMMAND, str(a)], capture_output=True, timeout=300).returncode == 2


def test_an_interrupted_collection_leaves_whole_files_and_goes_on_later(tmp_path: Path) -> None:
    a, out, go_on = tmp_path / "a", tmp_path / "out", tmp_path / "go on"
    search(a, "a")
    for number in range(20):  # more than there are threads; all wait for a file
        search(a, f"z{number}")
    code = f"""
import sys, time
from pathlib import Path
from analysis import aggregate
collect = aggregate._collect
def waiting(run, *more):
    while run != "a" and not Path({str(go_on)!r}).exists():
        time.sleep(0.01)
    return collect(run, *more)
aggregate._collect = waiting
sys.exit(aggregate.main([{str(a)!r}, "--out", {str(out)!r}]))
"""
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True
    ) as process:
        until(lambda: all(file_of(out, table, "a").exists() for table in TABLES))
        process.send_signal(signal.SIGINT)
        go_on.touch()
        printed, _ = process.communicate(timeout=300)
    assert process.returncode == 130
    assert printed.startswith("Interrupted")
    whole = contents(a)
    assert {name: whole[name] for name in contents(out)} == contents(out)
    assert collect(a, out) == 0
    assert contents(out) == whole


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_text_that_a_spreadsheet_would_run_is_text_in_the_csv_file(
    tmp_path: Path, start: str
) -> None:
    formula = f'{start}HYPERLINK("http://there";A1)'
    values = {"host": formula, "command": "python -m tuner.run", "memory_gib": 1.5, "seed": -3}
    search(tmp_path / "a", **values)
    assert collect(tmp_path / "a", tmp_path / "out", more=("--csv",)) == 0
    with (tmp_path / "out" / "csv" / "runs.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["host"], row["seed"]) == (f"'{formula}", "-3")
    assert (row["command"], row["memory_gib"]) == ("python -m tuner.run", "1.5")


def test_a_table_that_is_too_large_is_left_out_unread_and_the_rest_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    a, out = tmp_path / "a", tmp_path / "out"
    search(a, count=30)
    monkeypatch.setattr("analysis.tables.parquet.LARGEST_ROWS", 29)
    assert collect(a, out) == 1
    assert capsys.readouterr().err == (
        f"error: {file_of(a, 'epochs')}: can't be read: it has 30 rows, "
        "and a table has at most 29 rows and 1 GiB\n"
    )
    assert "runs/run=fc/runs.parquet" in contents(out)
    monkeypatch.setattr("analysis.tables.parquet.LARGEST_BYTES", 100)
    assert collect(a, tmp_path / "other") == 1
    assert contents(tmp_path / "other") == {}
