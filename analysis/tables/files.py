"""Read and publish parquet tables: a file appears whole or not at all, and one writer owns it."""

import filecmp
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from analysis.tables.schema import KEYS, TABLES, arrow_schema, brought_up
from trainables.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd

Row = dict[str, Any]
WRITING_SHARE = 0.05  # of a run's time, at most, goes into writing a table that grows


def table_path(tables: Path, table: str, run: str) -> Path:
    """Where a run's table lies below the directory `tables`."""
    return tables / f"{table}/run={run}/{table}.parquet"


@contextmanager
def written_aside(path: Path, keep_same: bool = False) -> Iterator[BinaryIO]:
    """A file to write that takes `path`'s place once it is whole: flushed to the disk, then renamed.

    When the writing breaks off, `path` is untouched; with `keep_same` it is too when the new file is the same.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(
        f".{path.name}.part"
    )  # one writer: what a killed one left is written over
    try:
        with aside.open("wb") as file:
            yield file
            file.flush()
            if keep_same and path.exists() and filecmp.cmp(aside, path, shallow=False):
                return
            os.fsync(file.fileno())
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def publish(tables: Path, table: str, run: str, rows: pa.Table | Iterable[Row]) -> None:
    """Replace a run's table by `rows`: written aside, flushed to the disk, then renamed.

    Readers see the old file or the new one. Raises OSError when the disk is full or read-only; the old
    file is then untouched.
    """
    schema = arrow_schema(table)
    content = rows if isinstance(rows, pa.Table) else pa.Table.from_pylist(list(rows), schema)
    with written_aside(table_path(tables, table, run)) as file:
        write_parquet(content, file)


def write_parquet(content: pa.Table, file: BinaryIO) -> None:
    """The form that every table has on disk; the same content gives the same bytes.

    Snappy: of the small pages of a run's tables zstd makes 4 % less, and takes twice as long to read.
    """
    pq.write_table(content, file, compression="snappy")


def read(tables: Path, table: str, run: str | None = None) -> "pd.DataFrame":
    """One run's rows of a table, or every run's; empty, with the table's columns, when there are none.

    Raises UsageError when a file can't be read.
    """
    every = sorted(tables.glob(table_path(tables, table, "*").relative_to(tables).as_posix()))
    paths = (
        every
        if run is None
        else [path for path in [table_path(tables, table, run)] if path.exists()]
    )
    frames = [read_file(path, table) for path in paths]
    whole = (
        pa.concat_tables(frames, promote_options="default")
        if frames
        else arrow_schema(table).empty_table()
    )
    frame: pd.DataFrame = whole.to_pandas()
    return frame


def read_file(path: Path, table: str) -> pa.Table:
    """One run's file, through one open handle: given a path, pyarrow opens it twice, and a rename may fall between.

    Raises UsageError when it can't be read.
    """
    try:
        file = pq.ParquetFile(pa.BufferReader(path.read_bytes()))
        content = file.read(use_threads=False)  # a table is small: threads cost more than they save
        content.validate(full=True)  # text that is no UTF-8 would else surprise whoever looks at it
        return brought_up(table, content)
    except (pa.ArrowException, OSError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise UsageError(f"{path} can't be read as the table {table}: {reason}") from error


def rows_of(tables: Path, table: str, run: str) -> list[Row]:
    """One run's rows as dicts, with None for null: what a resumed search goes on from."""
    path = table_path(tables, table, run)
    try:
        return read_file(path, table).to_pylist() if path.exists() else []
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} has a damaged text column: {error}") from error


class GrowingTable:
    """The one writer of a run's table: a later row replaces an earlier one with the same `KEYS`.

    `publish_if_due` writes often while that is cheap and seldom when it is not, so that writing stays
    below WRITING_SHARE of the run's time however many rows there are.
    """

    def __init__(self, tables: Path, table: str, run: str, rows: Iterable[Row] = ()):
        self._tables = tables
        self._table = table
        self._run = run
        self._key = KEYS[table]
        self._written = arrow_schema(table).empty_table()  # what the rows were already converted to
        self._index: dict[tuple[Any, ...], int] = {}
        self._rows: list[Row] = []
        self._due = 0.0
        for row in rows:
            self.put(row)

    def put(self, row: Row) -> None:
        """Add a row, or replace the one with its key. Columns that are left out become null."""
        filled = {column.name: row.get(column.name) for column in TABLES[self._table]}
        filled["run"] = self._run
        key = tuple(filled[name] for name in self._key)
        position = self._index.setdefault(key, len(self._rows))
        if position == len(self._rows):
            self._rows.append(filled)
        else:
            self._rows[position] = filled
            self._written = self._written.slice(0, min(position, len(self._written)))

    @property
    def rows(self) -> list[Row]:
        """All rows in the order in which their keys first came."""
        return self._rows

    def publish_if_due(self) -> None:
        """Write the table unless its last writing was a short while ago."""
        if time.monotonic() >= self._due:
            self.publish()

    def publish(self) -> None:
        """Write the table now. Raises OSError when the disk does not take it."""
        start = time.monotonic()
        fresh = pa.Table.from_pylist(self._rows[len(self._written) :], self._written.schema)
        self._written = pa.concat_tables([self._written, fresh]).combine_chunks()
        publish(self._tables, self._table, self._run, self._written)
        end = time.monotonic()
        self._due = end + (end - start) / WRITING_SHARE
