"""The tables of a storage as they are now: a file is read once, and again when it changed."""

import os
import time
from collections.abc import Hashable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

import pandas as pd
import pyarrow as pa

from analysis.tables.files import Row, read_file, table_file
from analysis.tables.schema import TABLES, arrow_schema
from analysis.tables.version_4 import names_of
from trainables.errors import UsageError

KEPT = frozenset({"runs", "trials"})
"""Small, and of every run: kept. The others are read for the runs that are shown."""
READERS = 4

Stamp = tuple[int, int, int]


class Store:
    """A reader of one storage, shared by all visitors."""

    def __init__(self, storage: Path, typed: str = "") -> None:
        """Take the directory, and how the storage was typed, for the commands on the pages."""
        self.typed = typed or str(storage)
        self.tables = storage / "tables"
        self.networks = storage / "networks"
        self._files: dict[str, dict[str, Stamp]] = {}
        self._kept: dict[tuple[str, str], tuple[Stamp, pa.Table]] = {}
        self._problems: dict[tuple[str, str], tuple[Stamp, str]] = {}
        self._frame = lru_cache(maxsize=24)(self._read)

    def version(self) -> int:
        """Look at the files; return a number that changes whenever any table does."""
        self._files = {table: _stamps(self.tables, names_of(table)) for table in TABLES}
        files = self._files.items()
        return hash(tuple((table, *run) for table, runs in files for run in runs.items()))

    def runs(self, table: str = "runs") -> list[str]:
        """Name the runs that have this table."""
        return sorted(self._files.get(table, {}))

    def frame(self, table: str, runs: Iterable[str] | None = None) -> pd.DataFrame:
        """Return the table's rows of these runs, or of all, as of the last call of `version`.

        A file that is not as its run would have written it is left out, and `problems` says so. It
        is no copy: leave it as it is.
        """
        files = self._files.get(table, {})
        chosen = sorted(files) if runs is None else sorted(set(runs) & set(files))
        return self._frame(table, tuple((run, files[run]) for run in chosen))

    def rows(self, table: str, run: str) -> list[Row]:
        """Return the table's rows of a run, null as None; none where its file can't be used."""
        stamp = self._files.get(table, {}).get(run)
        content = self._content(table, run, stamp) if stamp else None
        return content.to_pylist() if content is not None else []

    @property
    def read(self) -> int:
        """How many files of the tables that are kept have been read and were sound."""
        return len(self._kept)

    def key(self, table: str) -> Hashable:
        """Return what changes whenever a table of any run does."""
        return tuple(self._files.get(table, {}).items())

    def state(self, run: str) -> tuple[Stamp | None, ...]:
        """Return what changes whenever a table of a run does."""
        return tuple(self._files.get(table, {}).get(run) for table in TABLES)

    def quiet_sec(self, run: str) -> float:
        """Return for how long no table of a run has been written."""
        last_ns = max((stamp[0] for stamp in self.state(run) if stamp), default=0)
        return time.time() - last_ns / 1e9

    def problems(self) -> list[str]:
        """Say which files were left out as they are now, a sentence each."""
        current = self._files
        return [
            text
            for (table, run), (stamp, text) in list(self._problems.items())
            if current.get(table, {}).get(run) == stamp
        ]

    def _read(self, table: str, files: tuple[tuple[str, Stamp], ...]) -> pd.DataFrame:
        with ThreadPoolExecutor(READERS) as pool:
            found = list(pool.map(lambda file: self._content(table, *file), files))
        contents = [content for content in found if content is not None]
        whole = pa.concat_tables([arrow_schema(table).empty_table(), *contents])
        frame: pd.DataFrame = whole.to_pandas().astype({"run": str})
        return frame

    def _content(self, table: str, run: str, stamp: Stamp) -> pa.Table | None:
        known = self._kept.get((table, run))
        if known and known[0] == stamp:
            return known[1]
        try:
            content = read_file(table_file(self.tables, table, run), table)
        except UsageError as error:
            self._problems[table, run] = (stamp, str(error))
            return None
        if table in KEPT:
            self._kept[table, run] = (stamp, content)
        return content


def _stamps(tables: Path, names: Iterable[str]) -> dict[str, Stamp]:
    """Return the state of each run's file: when it changed, its size, its number.

    Args:
        tables: The directory that has a folder for each table.
        names: What the table's files may be called; a later one counts where there are several.
    """
    found = {}
    for name in names:
        with suppress(OSError):
            for entry in sorted(os.listdir(tables / name)):
                if entry.startswith("run="):
                    with suppress(OSError):
                        status = os.stat(f"{tables / name}/{entry}/{name}.parquet")
                        stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
                        found[entry.removeprefix("run=")] = stamp
    return found
