"""Tables appear whole or not at all, and a run's rows are replaced by key."""

import itertools
import random
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from analysis.tables import files as files_module
from analysis.tables import parquet
from analysis.tables.checks import check
from analysis.tables.files import (
    GrowingTable,
    as_csv,
    publish,
    read,
    read_file,
    rows_of,
    table_path,
)
from analysis.tables.schema import TABLES, arrow_schema
from trainables.errors import UsageError

EPOCH = dict.fromkeys(
    ("train_loss", "validation_loss", "validation_accuracy", "validation_cosine"), 0.5
)
EPOCH |= dict.fromkeys(("train_sec", "validation_sec", "images_per_sec"), 1.0)
MOMENT = datetime(2026, 1, 2, tzinfo=UTC)


def epoch(trial: int, number: int, **more: Any) -> dict[str, Any]:
    return {"trial": trial, "epoch": number, **EPOCH, "reported_at": MOMENT, **more}


def growing(tables: Path, **more: Any) -> GrowingTable:
    return GrowingTable(tables, "epochs", "r", **more)


def epochs_of(tables: Path) -> list[tuple[Any, ...]]:
    return [
        (row["trial"], row["epoch"], row["train_loss"]) for row in rows_of(tables, "epochs", "r")
    ]


def files(directory: Path) -> list[str]:
    return sorted(
        str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file()
    )


SAMPLE = {
    "run": "r",
    "subject": "trial 0",
    "trial": 0,
    "cosine": 1.0,
    "rank": 0,
    "truth": b"",
    "output": b"",
}
OUT_OF_SPACE = """
import os, resource, signal, sys
from pathlib import Path
from analysis.tables.files import publish
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
signal.signal(signal.SIGXFSZ, {handler})
rows = [{sample} | {{"image": i, "input": os.urandom(50_000)}} for i in range(20)]
try:
    publish(Path(sys.argv[1]), "samples", "r", rows)
except OSError:
    sys.exit(7)
"""


def write_beyond_the_limit(tables: Path, handler: str) -> int:
    """Publish a megabyte in a process whose files may only have 100 kB; its exit status."""
    code = OUT_OF_SPACE.format(handler=handler, sample=SAMPLE)
    return subprocess.run([sys.executable, "-c", code, str(tables)], timeout=300).returncode


@pytest.mark.parametrize(
    ("handler", "status"),
    [("signal.SIG_IGN", 7), ("signal.SIG_DFL", -signal.SIGXFSZ)],
    ids=["full disk", "killed"],
)
def test_a_writing_that_breaks_off_leaves_the_old_table_readable(
    tmp_path: Path, handler: str, status: int
) -> None:
    old = {**SAMPLE, "image": 1, "input": b"old"}
    publish(tmp_path, "samples", "r", [old])
    assert write_beyond_the_limit(tmp_path, handler) == status
    assert rows_of(tmp_path, "samples", "r") == [old]
    assert len(read(tmp_path, "samples")) == 1
    if status == 7:
        assert files(tmp_path) == ["samples/run=r/samples.parquet"]


def test_a_first_writing_that_breaks_off_leaves_no_table(tmp_path: Path) -> None:
    assert write_beyond_the_limit(tmp_path, "signal.SIG_IGN") == 7
    assert files(tmp_path) == []
    assert rows_of(tmp_path, "samples", "r") == []


def test_rows_that_do_not_fit_the_table_leave_the_old_one_and_no_stray_file(tmp_path: Path) -> None:
    table = growing(tmp_path, rows=[epoch(0, 1)])
    table.publish()
    table.put({"trial": 0, "epoch": 2})
    with pytest.raises(pa.ArrowInvalid, match="non-nullable"):
        table.publish()
    assert epochs_of(tmp_path) == [(0, 1, 0.5)]
    assert files(tmp_path) == ["epochs/run=r/epochs.parquet"]


def test_a_reader_never_sees_half_a_table_while_another_process_publishes(tmp_path: Path) -> None:
    enough = tmp_path / "enough"
    code = f"""
import datetime, itertools
from pathlib import Path
from analysis.tables.files import publish
row = {epoch(0, 0)!r} | {{"run": "r"}}
for size in itertools.count(1):
    publish(Path({str(tmp_path)!r}), "epochs", "r", [row | {{"epoch": e}} for e in range(size)])
    if Path({str(enough)!r}).exists():
        break
"""
    seen: list[int] = []
    with subprocess.Popen([sys.executable, "-c", code]) as writer:
        while writer.poll() is None:
            numbers = [row["epoch"] for row in rows_of(tmp_path, "epochs", "r")]
            assert numbers == list(range(len(numbers)))
            seen.append(len(numbers))
            if len(set(seen)) > 9:
                enough.touch()
    assert writer.returncode == 0
    assert seen == sorted(seen)


def test_publishing_again_replaces_what_was_there(tmp_path: Path) -> None:
    publish(tmp_path, "epochs", "r", [{"run": "r", **epoch(0, n)} for n in (1, 2, 3)])
    publish(tmp_path, "epochs", "r", [{"run": "r", **epoch(0, 9)}])
    assert epochs_of(tmp_path) == [(0, 9, 0.5)]


def test_the_files_metadata_tell_units_and_meanings(tmp_path: Path) -> None:
    growing(tmp_path, rows=[epoch(0, 1)]).publish()
    schema = pq.read_schema(table_path(tmp_path, "epochs", "r"))
    assert schema.equals(arrow_schema("epochs"), check_metadata=True)
    assert schema.field("train_sec").metadata[b"unit"] == b"s"
    assert schema.field("train_loss").metadata[b"meaning"] == b"the trial's loss over the epoch"


def test_a_later_row_replaces_the_one_with_its_key_and_keeps_its_place(tmp_path: Path) -> None:
    table = growing(tmp_path)
    for trial, number in ((0, 1), (1, 1), (0, 2)):
        table.put(epoch(trial, number))
    table.put(epoch(1, 1, train_loss=0.25))
    table.publish()
    assert epochs_of(tmp_path) == [(0, 1, 0.5), (1, 1, 0.25), (0, 2, 0.5)]


@pytest.mark.parametrize("position", [0, 1, 2])
def test_a_row_is_replaced_after_it_was_published_too(tmp_path: Path, position: int) -> None:
    table = growing(tmp_path, rows=[epoch(0, n) for n in range(3)])
    table.publish()
    table.put(epoch(0, position, train_loss=0.1))
    table.put(epoch(0, 3))
    table.publish()
    losses = [0.1 if n == position else 0.5 for n in range(4)]
    assert epochs_of(tmp_path) == [(0, n, loss) for n, loss in enumerate(losses)]
    table.put(epoch(0, 3, train_loss=0.2))
    table.publish()
    assert epochs_of(tmp_path)[3] == (0, 3, 0.2)


def test_a_table_that_goes_on_from_its_published_rows_is_the_same(tmp_path: Path) -> None:
    growing(tmp_path, rows=[epoch(0, 1), epoch(1, 1)]).publish()
    table = growing(tmp_path, rows=rows_of(tmp_path, "epochs", "r"))
    table.put(epoch(0, 1, train_loss=0.1))
    table.publish()
    assert epochs_of(tmp_path) == [(0, 1, 0.1), (1, 1, 0.5)]
    assert rows_of(tmp_path, "epochs", "r") == table.rows


def test_columns_that_are_left_out_are_null(tmp_path: Path) -> None:
    known = {
        "trial": 4,
        "model": "fc",
        "loss": "mse",
        "learning_rate": 0.1,
        "patience": 3,
        "seed": 1,
        "epochs": 0,
    }
    table = GrowingTable(tmp_path, "trials", "r")
    table.put({**known, "train_sec": 0.0, "restarts": 0, "started_at": MOMENT, "no such column": 1})
    table.publish()
    (row,) = rows_of(tmp_path, "trials", "r")
    assert list(row) == [column.name for column in TABLES["trials"]]
    assert {name for name, value in row.items() if value is None} == {
        c.name for c in TABLES["trials"] if c.nullable
    }
    assert (row["run"], row["trial"], row["started_at"]) == ("r", 4, MOMENT)


def test_a_table_is_written_for_a_twentieth_of_the_time_or_when_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = itertools.count()  # a look at the clock, and so each writing, takes one
    monkeypatch.setattr(files_module, "time", SimpleNamespace(monotonic=lambda: next(seconds)))
    table, written = growing(tmp_path), []
    for number in range(50):
        table.put(epoch(0, number))
        table.publish_if_due()
        written.append(len(epochs_of(tmp_path)))
    assert list(dict.fromkeys(written)) == [1, 21, 41]
    table.publish()
    assert len(epochs_of(tmp_path)) == 50


def test_what_has_not_changed_is_not_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("analysis.tables.files.WRITING_FRACTION", 1e9)  # it is always due
    table = growing(tmp_path)
    table.put(epoch(0, 1))
    table.publish_if_due()
    (path,) = (tmp_path / "epochs" / "run=r").glob("*.parquet")
    path.unlink()
    table.publish_if_due()
    assert not path.exists()
    table.put(epoch(0, 2))
    table.publish_if_due()
    assert len(epochs_of(tmp_path)) == 2


def test_pandas_reads_a_folder_of_runs(tmp_path: Path) -> None:
    for run in ("a", "b"):
        publish(tmp_path, "epochs", run, [{"run": run, **epoch(0, 1)}])
    assert pd.read_parquet(tmp_path / "epochs").run.tolist() == ["a", "b"]


def test_reading_joins_every_run_or_takes_one(tmp_path: Path) -> None:
    for run, count in (("b", 1), ("a", 2)):
        publish(tmp_path, "epochs", run, [{"run": run, **epoch(0, n)} for n in range(count)])
    assert read(tmp_path, "epochs")["run"].tolist() == ["a", "a", "b"]
    assert read(tmp_path, "epochs", "b")["run"].tolist() == ["b"]


@pytest.mark.parametrize("table", TABLES)
def test_a_table_without_runs_is_empty_and_has_its_columns(tmp_path: Path, table: str) -> None:
    frame = read(tmp_path / "nowhere", table)
    assert len(frame) == 0
    assert frame.columns.tolist() == [column.name for column in TABLES[table]]
    assert rows_of(tmp_path, table, "r") == []


def cut(whole: bytes) -> bytes:
    return whole[: len(whole) // 2]


def page_header(whole: bytes) -> bytes:
    return whole[:4] + b"\xff" * 40 + whole[44:]


@pytest.mark.parametrize("spoil", [cut, page_header, lambda _: b"", lambda _: b"not parquet" * 99])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, spoil: Any) -> None:
    for run in ("a", "b"):
        publish(tmp_path, "epochs", run, [{"run": run, **epoch(0, n)} for n in range(100)])
    path = table_path(tmp_path, "epochs", "a")
    path.write_bytes(spoil(path.read_bytes()))
    for reading in (lambda: read(tmp_path, "epochs"), lambda: rows_of(tmp_path, "epochs", "a")):
        with pytest.raises(ValueError, match=r"epochs\.parquet: can't be read: ") as error:
            reading()
        assert str(error.value).startswith(str(path))
    assert len(read(tmp_path, "epochs", "b")) == 100


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        ([("r", 1), ("r", 1)], "row 2: has the key of an earlier row (trial 0, epoch 1)"),
        ([("r", 1), ("other", 2)], "column run, row 2: is other, should be r as its folder says"),
    ],
    ids=["doubled", "another run's"],
)
def test_rows_that_its_run_would_not_have_written_are_told_with_the_file_and_what_to_do(
    tmp_path: Path, rows: list[tuple[str, int]], problem: str
) -> None:
    publish(tmp_path, "epochs", "r", [{"run": run, **epoch(0, number)} for run, number in rows])
    for reading in (lambda: read(tmp_path, "epochs"), lambda: rows_of(tmp_path, "epochs", "r")):
        with pytest.raises(UsageError) as error:
            reading()
        assert str(error.value) == (
            f"{table_path(tmp_path, 'epochs', 'r')}: {problem}; "
            "put a sound copy in its place, or move it away"
        )


def test_a_place_that_takes_no_tables_is_an_oserror(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        publish(tmp_path / "file", "epochs", "r", [])


def test_text_that_is_no_text_is_noticed_when_the_file_is_read(tmp_path: Path) -> None:
    damaged = pa.array([b"\xff\xfe"], pa.binary()).view(pa.string())
    publish(tmp_path, "samples", "r", [{**SAMPLE, "image": 1, "input": b""}])
    whole = pq.read_table(table_path(tmp_path, "samples", "r"), partitioning=None)
    position = whole.column_names.index("subject")
    pq.write_table(
        whole.set_column(position, whole.field("subject"), damaged),
        table_path(tmp_path, "samples", "r"),
    )
    with pytest.raises(ValueError, match=r"samples\.parquet: can't be read: "):
        read(tmp_path, "samples")


def published(tables: Path, rows: list[dict[str, Any]], table: str = "epochs") -> Path:
    publish(tables, table, "r", [{"run": "r", **row} for row in rows])
    return table_path(tables, table, "r")


def flipped(whole: bytes, bit: int) -> bytes:
    changed = bytearray(whole)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def test_a_flipped_bit_gives_the_rows_as_they_were_or_one_sentence(tmp_path: Path) -> None:
    path = published(tmp_path, [epoch(n % 3, n, train_loss=1 / n) for n in range(1, 60)])
    right, whole = read_file(path, "epochs"), path.read_bytes()
    refused = 0
    for bit in random.Random(0).sample(range(len(whole) * 8), 300):
        found = check(flipped(whole, bit), "epochs", "r")
        if found.problems:
            refused += 1
            assert not any("\n" in problem for problem in found.problems)
        else:
            assert found.content == right
    assert refused > 150


def test_a_changed_bit_anywhere_is_told_as_damage(tmp_path: Path) -> None:
    path = published(tmp_path, [epoch(0, n, train_loss=1 / n) for n in range(1, 60)])
    whole = path.read_bytes()
    for place in (4, 5, 700, 1000, len(whole) // 2, len(whole) - 100):
        path.write_bytes(flipped(whole, place * 8))
        with pytest.raises(UsageError, match=r"it is damaged: its SHA-256 is not that of its con"):
            rows_of(tmp_path, "epochs", "r")


def written_by_another_program(path: Path) -> None:
    """Without a seal, and with checksums."""
    content = pq.read_table(path, partitioning=None)
    pq.write_table(content, path, write_page_checksum=True)


def test_a_changed_page_is_told_where_a_file_has_no_seal(tmp_path: Path) -> None:
    path = published(tmp_path, [epoch(0, n, train_loss=1 / n) for n in range(1, 60)])
    right = rows_of(tmp_path, "epochs", "r")
    written_by_another_program(path)
    assert rows_of(tmp_path, "epochs", "r") == right
    losses = pq.read_metadata(path).row_group(0).column(3)
    end = losses.dictionary_page_offset + losses.total_compressed_size
    path.write_bytes(flipped(path.read_bytes(), end * 8 - 1))
    with pytest.raises(UsageError, match=r"epochs\.parquet: can't be read: .*CRC checksum"):
        rows_of(tmp_path, "epochs", "r")


def test_a_column_that_ends_early_is_told_where_a_file_has_no_seal(tmp_path: Path) -> None:
    path = published(tmp_path, [epoch(0, n, train_loss=1 / n) for n in range(1, 101)])
    written_by_another_program(path)
    path.write_bytes(flipped(path.read_bytes(), 41))  # in the header of the first page
    with pytest.raises(UsageError, match="0 of 100 rows can be read"):
        rows_of(tmp_path, "epochs", "r")


def test_other_readers_verify_the_checksums_of_pages(tmp_path: Path) -> None:
    path = published(tmp_path, [epoch(0, n, train_loss=1 / n) for n in range(1, 60)])
    read = pd.read_parquet(path, page_checksum_verification=True, partitioning=None)
    assert read.train_loss.tolist() == [1 / n for n in range(1, 60)]
    losses = pq.read_metadata(path).row_group(0).column(3)
    end = losses.dictionary_page_offset + losses.total_compressed_size
    path.write_bytes(flipped(path.read_bytes(), end * 8 - 1))
    with pytest.raises(OSError, match="CRC checksum"):
        pd.read_parquet(path, page_checksum_verification=True, partitioning=None)


def test_more_rows_than_any_run_has_are_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    published(tmp_path, [epoch(0, n) for n in range(11)])
    monkeypatch.setattr(parquet, "LARGEST_ROWS", 10)
    monkeypatch.setattr(parquet.pq.ParquetFile, "iter_batches", None)
    with pytest.raises(
        UsageError, match=r"it has 11 rows, and a table has at most 10 rows and 1 G"
    ):
        read(tmp_path, "epochs")


def test_a_text_that_unfolds_to_more_than_a_table_is_not_read_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file has it once, and every row has it."""
    read_at_once = []
    whole = parquet.pq.ParquetFile.iter_batches

    def noted(file: Any, rows: int, **more: Any) -> Any:
        read_at_once.append(rows)
        return whole(file, rows, **more)

    subject = "x" * 20_000
    rows = [{**SAMPLE, "subject": subject, "image": n, "input": b""} for n in range(500)]
    path = published(tmp_path, rows, "samples")
    assert path.stat().st_size < 20_000
    monkeypatch.setattr(parquet.pq.ParquetFile, "iter_batches", noted)
    monkeypatch.setattr(parquet, "LARGEST_BYTES", 11_000_000)
    assert rows_of(tmp_path, "samples", "r")[499]["subject"] == subject
    monkeypatch.setattr(parquet, "LARGEST_BYTES", 5_000_000)
    with pytest.raises(UsageError, match=r"it has 0\.0 GiB, and a table"):
        read(tmp_path, "samples")
    assert read_at_once[1] < read_at_once[0] < 200


def test_a_file_that_is_larger_than_a_table_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    published(tmp_path, [epoch(0, 1)])
    monkeypatch.setattr(parquet, "LARGEST_BYTES", 1000)
    monkeypatch.setattr(Path, "read_bytes", None)
    with pytest.raises(UsageError, match="at most 5,000,000 rows and"):
        read(tmp_path, "epochs")


def test_text_that_is_no_text_is_written_with_escapes(tmp_path: Path) -> None:
    published(tmp_path, [{**SAMPLE, "image": 1, "input": b"", "subject": "\udcff"}], "samples")
    assert rows_of(tmp_path, "samples", "r")[0]["subject"] == r"\udcff"
    trials = GrowingTable(tmp_path, "trials", "r")
    trials.put({"trial": 0, "model": "a\x00\ud800", "loss": "mse", "learning_rate": 0.1,
                "patience": 3, "seed": 1, "epochs": 0, "train_sec": 0.0, "restarts": 0,
                "started_at": MOMENT})  # fmt: skip
    trials.publish()
    assert rows_of(tmp_path, "trials", "r")[0]["model"] == r"a\x00\ud800"


def test_text_that_a_spreadsheet_would_run_is_text_in_a_saved_csv_file() -> None:
    frame = pd.DataFrame({"error": ["=A1", "-1; @x", "fine", None], "number": [-1.5, 2, 3, 4]})
    assert as_csv(frame).decode().splitlines() == [
        '"error","number"',
        '"\'=A1",-1.5',
        '"\'-1; @x",2.0',
        '"fine",3.0',
        '"",4.0',
    ]
