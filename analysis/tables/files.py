"""Read and publish parquet tables: a file appears whole or not at all, and one writer owns it."""

import csv
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from analysis.tables.checks import check
from analysis.tables.parquet import check_size, encoded
from analysis.tables.schema import KEYS, NAME, TABLES, TEXT, arrow_schema
from analysis.tables.version_4 import names_of
from trainables.atomic_write import atomic_write
from trainables.errors import UsageError, cleaned, first_line, known_runs

if TYPE_CHECKING:
    import pandas as pd

Row = dict[str, Any]
# A spreadsheet runs text that begins so, and shows it as it is after an apostrophe
FORMULA, HARMLESS = r"\A([=+\-@\t\r])", r"'\1"
WRITING_FRACTION = 0.05  # of a run's time, at most, goes into writing a table that grows


def table_path(tables: Path, table: str, run: str) -> Path:
    """Return where a run's table lies below the directory `tables`."""
    return tables / f"{table}/run={run}/{table}.parquet"


def table_file(tables: Path, table: str, run: str) -> Path:
    """Return the file that has a run's rows, also under what version 4 called the table."""
    paths = [table_path(tables, name, run) for name in reversed(names_of(table))]
    return next((path for path in paths if path.exists()), paths[0])


def table_files(tables: Path, table: str) -> list[Path]:
    """Return every run's file, as `table_file` finds it, in the order of the runs' names."""
    found = {
        path.parent.name: path
        for name in names_of(table)
        for path in tables.glob(f"{name}/run=*/{name}.parquet")
    }
    return [found[folder] for folder in sorted(found)]


def publish(tables: Path, table: str, run: str, rows: pa.Table | Iterable[Row]) -> None:
    """Replace a run's table. Whoever reads it meanwhile sees the old file or the new one.

    The same rows give the same bytes.

    Args:
        tables: The directory that has a folder for each table.
        table: Its name, as in TABLES.
        run: The run's name.
        rows: All rows, each with every column of the table.

    Raises:
        OSError: The disk is full or read-only; the old file is untouched.
    """
    if not isinstance(rows, pa.Table):
        rows = _content(rows, table)
    with atomic_write(table_path(tables, table, run)) as aside:
        aside.write_bytes(encoded(rows))


def read(tables: Path, table: str, run: str | None = None) -> "pd.DataFrame":
    """Return one run's rows of a table, or every run's; none where there is no such file.

    Raises:
        UsageError: A file can't be read, or is not as its run would have written it.
    """
    paths = table_files(tables, table) if run is None else [table_file(tables, table, run)]
    contents = [read_file(path, table) for path in paths if path.exists()]
    frame: pd.DataFrame = pa.concat_tables(
        [arrow_schema(table).empty_table(), *contents]
    ).to_pandas()
    return frame


def read_file(path: Path, table: str) -> pa.Table:
    """Return the rows of one run's file.

    Raises:
        UsageError: It is not as a run of its folder's name would have written it.
    """
    try:
        check_size(size=path.stat().st_size)
        # Read once: given a path, pyarrow opens it twice, and a rename may fall between
        checked = check(path.read_bytes(), table, path.parent.name.removeprefix("run="))
        content, problems = checked.content, checked.problems
    except (OSError, ValueError) as error:
        content, problems = None, (first_line(error),)
    if content is None or problems:
        raise UsageError(f"{path}: {problems[0]}; put a sound copy in its place, or move it away")
    return content


def rows_of(tables: Path, table: str, run: str) -> list[Row]:
    """Return one run's rows as dicts, with None for null; none where there is no such file.

    Raises:
        UsageError: The file can't be read, or is not as its run would have written it.
    """
    path = table_file(tables, table, run)
    rows: list[Row] = read_file(path, table).to_pylist() if path.exists() else []
    return rows


def run_of(storage: str, tables: Path, name: str) -> Row:
    """Return the row of a run, as a person names it.

    Args:
        storage: As they typed it, for sentences.
        tables: Its directory of tables.
        name: The run's.

    Raises:
        UsageError: There is no such run, or its file can't be read.
    """
    rows = rows_of(tables, "runs", name) if name not in ("", ".", "..") and "/" not in name else []
    if not rows:
        known = known_runs(tables.glob("runs/run=*"), "give another --storage")
        raise UsageError(f"{storage} has no run {name!r}: {known}")
    return rows[0]


def _content(rows: Iterable[Row], table: str) -> pa.Table:
    """Return rows as a table; text that no file takes is escaped."""
    texts = [column.name for column in TABLES[table] if column.type in (TEXT, NAME)]
    return pa.Table.from_pylist(
        [row | {name: cleaned(row[name]) for name in texts if row.get(name)} for row in rows],
        arrow_schema(table),
    )


class GrowingTable:
    """A run's table while it is written: a later row replaces an earlier one of the same key.

    `publish_if_due` writes often while that is cheap, seldom when it is not, so that writing stays
    below WRITING_FRACTION of the run's time however many rows there are.
    """

    def __init__(self, tables: Path, table: str, run: str, rows: Iterable[Row] = ()) -> None:
        """Begin with `rows`; nothing is written yet. For the arguments see `publish`."""
        self.rows: list[Row] = []  # in the order in which their keys first came
        self._tables, self._table, self._run = tables, table, run
        self._places: dict[tuple[Any, ...], int] = {}  # by key, in `rows`
        self._written = arrow_schema(table).empty_table()  # what the rows were already converted to
        self._due = 0.0
        self._changed = True
        for row in rows:
            self.put(row)

    def put(self, row: Row) -> None:
        """Add a row, or replace the one with its key. Columns that are left out become null."""
        filled = {column.name: row.get(column.name) for column in TABLES[self._table]}
        filled["run"] = self._run
        key = tuple(filled[name] for name in KEYS[self._table])
        place = self._places.setdefault(key, len(self.rows))
        self.rows[place : place + 1] = [filled]
        self._changed = True
        if place < len(self._written):
            self._written = self._written.slice(0, place)

    def publish_if_due(self) -> None:
        """Write the table unless that was a short while ago, or nothing has changed since."""
        if self._changed and time.monotonic() >= self._due:
            self.publish()

    def publish(self) -> None:
        """Write the table now. Raises OSError when the disk does not take it."""
        start = time.monotonic()
        fresh = _content(self.rows[len(self._written) :], self._table)
        self._written = pa.concat_tables([self._written, fresh]).combine_chunks()
        publish(self._tables, self._table, self._run, self._written)
        self._changed = False
        now = time.monotonic()
        self._due = now + (now - start) / WRITING_FRACTION


def as_csv(frame: "pd.DataFrame") -> bytes:
    """Return a data frame as a CSV file in which no text is a formula."""
    harmless = frame.replace(FORMULA, HARMLESS, regex=True)
    return harmless.to_csv(index=False, quoting=csv.QUOTE_NONNUMERIC).encode()
