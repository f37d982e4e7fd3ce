"""The tables of a storage as they are now, read once and again when they have changed."""

import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from analysis.dashboard import snapshot as module
from analysis.dashboard.snapshot import Store
from analysis.tables.files import publish, table_path
from analysis.tables.schema import TABLES
from tests.analysis.collecting import file_of, row, search
from tests.analysis.version_4_runs import write_version_4


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Which files are read: the table, and `run=NAME`."""
    found: list[tuple[str, str]] = []
    read_file = module.read_file

    def counting(path: Path, table: str) -> pa.Table:
        found.append((table, path.parent.name))
        return read_file(path, table)

    monkeypatch.setattr(module, "read_file", counting)
    return found


def opened(storage: Path) -> Store:
    store = Store(storage)
    store.version()
    return store


def put(storage: Path, table: str, run: str = "fc", **more: Any) -> None:
    publish(storage / "tables", table, run, [row(table, run, **more)])


def test_a_run_of_version_4_is_shown_and_its_scores_are_read_again_when_they_change(
    tmp_path: Path,
) -> None:
    write_version_4(tmp_path, "old")
    store = opened(tmp_path)
    assert store.runs("scores") == ["old"]
    before = store.frame("scores")
    assert (len(before), store.problems()) == (78, [])
    first = store.version()
    write_version_4(tmp_path, "old", share=1.0)
    assert store.version() != first
    shares = store.frame("scores").query("threshold.notna()")
    assert (shares.value == 1).all()


@pytest.mark.parametrize("table", TABLES)
def test_the_version_changes_when_any_table_does_and_only_then(tmp_path: Path, table: str) -> None:
    search(tmp_path)
    store = Store(tmp_path)
    first = store.version()
    assert store.version() == first
    for name in TABLES:
        store.frame(name)
    assert store.version() == first
    put(tmp_path, table)
    second = store.version()
    assert second != first
    assert store.version() == second


def test_the_version_changes_when_a_run_comes_or_goes(tmp_path: Path) -> None:
    search(tmp_path)
    store = Store(tmp_path)
    first = store.version()
    put(tmp_path, "trials", "cnn")
    assert store.version() != first
    file_of(tmp_path, "trials", "cnn").unlink()
    assert store.version() == first


def test_files_that_are_no_tables_do_not_change_the_version(tmp_path: Path) -> None:
    search(tmp_path)
    store = Store(tmp_path)
    first = store.version()
    file_of(tmp_path, "trials").with_name(".trials.parquet.part").write_bytes(b"half")
    (tmp_path / "tables" / "trials" / "notes.txt").write_text("mine")
    (tmp_path / "tables" / "trials" / "run=empty").mkdir()
    (tmp_path / "tables" / "own").mkdir()
    assert store.version() == first
    assert store.runs("trials") == ["fc"]


@pytest.mark.parametrize("table", ["runs", "trials", "epochs"])
def test_an_unchanged_file_is_not_read_again(
    tmp_path: Path, reads: list[tuple[str, str]], table: str
) -> None:
    search(tmp_path)
    store = opened(tmp_path)
    for _ in range(3):
        store.version()
        assert len(store.frame(table)) > 0
    assert reads == [(table, "run=fc")]


def test_of_several_runs_only_the_changed_one_is_read_again(
    tmp_path: Path, reads: list[tuple[str, str]]
) -> None:
    for run in ("a", "b"):
        put(tmp_path, "trials", run)
    store = opened(tmp_path)
    store.frame("trials")
    store.frame("trials", ["b"])
    assert sorted(reads) == [("trials", "run=a"), ("trials", "run=b")]
    reads.clear()
    put(tmp_path, "trials", "b", learning_rate=0.25)
    assert store.frame("trials").learning_rate.tolist() == [0.5, 0.5]
    store.version()
    assert store.frame("trials").learning_rate.tolist() == [0.5, 0.25]
    assert reads == [("trials", "run=b")]


def cut(whole: bytes) -> bytes:
    return whole[: len(whole) // 2]


@pytest.mark.parametrize(
    "spoil", [cut, lambda _: b"", lambda _: b"not parquet" * 99], ids=["cut", "empty", "other"]
)
@pytest.mark.parametrize("table", ["trials", "epochs"])
def test_a_damaged_file_is_left_out_and_named_until_it_is_mended(
    tmp_path: Path, table: str, spoil: Callable[[bytes], bytes]
) -> None:
    for run in ("bad", "good"):
        put(tmp_path, table, run)
    path = file_of(tmp_path, table, "bad")
    path.write_bytes(spoil(path.read_bytes()))
    store = opened(tmp_path)
    assert store.problems() == []
    for _ in range(2):
        assert store.frame(table).run.tolist() == ["good"]
        (problem,) = store.problems()
        assert problem.startswith(str(path))
        store.version()
    put(tmp_path, table, "bad")
    store.version()
    assert store.problems() == []
    assert store.frame(table).run.tolist() == ["bad", "good"]
    assert store.problems() == []


def test_the_copy_of_a_run_beside_it_is_left_out_and_named(tmp_path: Path) -> None:
    search(tmp_path)
    for table in TABLES:
        folder = file_of(tmp_path, table).parent
        shutil.copytree(folder, folder.with_name("run=fc-backup"))
        shutil.copytree(folder, folder.with_name("fc"))  # no folder of a run
    store = opened(tmp_path)
    for table in TABLES:
        assert store.frame(table).run.unique().tolist() == ["fc"]
        assert len(store.frame(table, ["fc", "fc-backup"])) == len(store.frame(table, ["fc"]))
    assert [problem.partition(";")[0] for problem in store.problems()] == [
        f"{file_of(tmp_path, table, 'fc-backup')}: "
        "column run, row 1: is fc, should be fc-backup as its folder says"
        for table in TABLES
    ]


def test_a_damaged_file_that_goes_is_no_problem_any_more(tmp_path: Path) -> None:
    put(tmp_path, "trials")
    file_of(tmp_path, "trials").write_bytes(b"")
    store = opened(tmp_path)
    assert store.frame("trials").empty
    assert len(store.problems()) == 1
    file_of(tmp_path, "trials").unlink()
    store.version()
    assert store.problems() == []


def test_problems_are_told_while_another_session_finds_more(tmp_path: Path) -> None:
    runs = [f"r{number:03}" for number in range(500)]
    for run in runs:
        file = file_of(tmp_path, "epochs", run)
        file.parent.mkdir(parents=True)
        file.write_bytes(b"")
    store = opened(tmp_path)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # so that the sessions take turns within a call
    try:
        finding = threading.Thread(target=store.frame, args=("epochs",))
        finding.start()
        while finding.is_alive():
            assert len(store.problems()) <= len(runs)
    finally:
        sys.setswitchinterval(interval)
        finding.join()
    assert len(store.problems()) == len(runs)


def test_a_table_of_another_schema_version_is_left_out_and_said_in_a_sentence(
    tmp_path: Path,
) -> None:
    put(tmp_path, "trials", "today")
    metadata = {"table": "trials", "schema_version": "1"}
    path = file_of(tmp_path, "trials", "old")
    path.parent.mkdir(parents=True)
    pq.write_table(pa.table({"mood": ["good"]}).replace_schema_metadata(metadata), path)
    store = opened(tmp_path)
    assert store.frame("trials").run.tolist() == ["today"]
    (problem,) = store.problems()
    assert problem.startswith(f"{path}: it has schema version 1,")


@pytest.mark.parametrize("folder", ["", "nowhere"])
def test_a_storage_without_tables_has_empty_frames_with_all_columns(
    tmp_path: Path, folder: str
) -> None:
    store = opened(tmp_path / folder)
    for table, columns in TABLES.items():
        assert store.runs(table) == []
        assert store.frame(table).empty
        assert store.frame(table).columns.tolist() == [column.name for column in columns]
    assert store.problems() == []


def test_a_first_table_appears(tmp_path: Path) -> None:
    store = Store(tmp_path)
    first = store.version()
    search(tmp_path)
    assert store.version() != first
    assert store.runs() == ["fc"]
    assert len(store.frame("epochs")) == 3


def test_runs_are_those_that_have_the_table(tmp_path: Path) -> None:
    search(tmp_path, "fc")
    put(tmp_path, "timings", "2026-01-02")
    store = opened(tmp_path)
    assert store.runs() == ["fc"]
    assert store.runs("timings") == ["2026-01-02", "fc"]
    assert store.frame("runs", ["2026-01-02"]).empty
    assert store.frame("timings", ["2026-01-02"]).run.tolist() == ["2026-01-02"]


def test_a_frame_holds_the_chosen_runs_once_each_and_all_without_a_choice(tmp_path: Path) -> None:
    for run in ("c", "a", "b"):
        put(tmp_path, "trials", run)
    store = opened(tmp_path)
    assert store.frame("trials").run.tolist() == ["a", "b", "c"]
    assert store.frame("trials", ["c", "a", "c", "unknown"]).run.tolist() == ["a", "c"]
    assert store.frame("trials", iter(["b"])).run.tolist() == ["b"]
    assert store.frame("trials", []).empty


WRITER = """
import sys
from pathlib import Path
from analysis.tables.files import publish
from tests.analysis.collecting import epochs, row
storage = Path(sys.argv[1])
for size in range(1, 61):
    publish(storage / "tables", "epochs", "fc", epochs(size))
    publish(storage / "tables", "trials", "fc", [row("trials", trial=n) for n in range(size)])
"""


def test_a_reader_meets_only_whole_tables_while_a_search_writes_and_ends_with_the_last(
    tmp_path: Path,
) -> None:
    store = Store(tmp_path)
    seen: dict[str, list[int]] = {"trials": [], "epochs": []}

    def look() -> int:
        version = store.version()
        for table, numbers in (("trials", "trial"), ("epochs", "epoch")):
            found = store.frame(table)[numbers].tolist()
            start = found[0] if found else 0
            assert found == list(range(start, start + len(found)))
            seen[table].append(len(found))
        assert store.problems() == []
        return version

    with subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)]) as writer:
        while writer.poll() is None:
            look()
    assert writer.returncode == 0
    last = look()
    assert store.version() == last
    for sizes in seen.values():
        assert sizes == sorted(sizes)
        assert sizes[-1] == 60
        assert len(set(sizes)) > 5, "the reader must have met many versions"


def test_networks_lie_beside_the_tables(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert (store.tables, store.networks) == (tmp_path / "tables", tmp_path / "networks")
    assert file_of(tmp_path, "runs") == table_path(store.tables, "runs", "fc")
