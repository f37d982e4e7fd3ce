"""Copies of one run in several places: whether they are the same run, and which of them got furthest."""

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from threading import Semaphore

from analysis.tables.checks import Checked, check
from analysis.tables.files import Row
from analysis.tables.schema import TABLES
from analysis.tables.table_sources import Place
from trainables.errors import UsageError

TIMING_TABLES = {"timings", "cards"}  # all that a timing without a search has
CHECKING = Semaphore(
    os.cpu_count() or 1
)  # more threads than cores wait for files well, but fight for Python's lock


@dataclass(frozen=True)
class Copy:
    """A run as one place has it, read and checked."""

    place: Place
    run: str
    files: dict[str, Checked]

    @classmethod
    def read(cls, place: Place, run: str, others: Sequence["Copy"] = ()) -> "Copy":
        """Every table that the place has of the run, each file read once; what is in `others` too is checked there."""
        known = {
            table: [copy.files[table] for copy in others if table in copy.files] for table in TABLES
        }
        return cls(
            place,
            run,
            {
                table: read_file(place, table, run, known[table])
                for table in place.runs.get(run, ())
            },
        )

    def problems(self, but: Collection[str] = ()) -> list[str]:
        """Whole sentences on every table `but` those."""
        files = (
            (self.place.where(table, self.run), file)
            for table, file in self.files.items()
            if table not in but
        )
        return [f"{name}: {problem}" for name, file in files for problem in file.problems]

    @cached_property
    def identity(self) -> tuple[object, ...] | None:
        """What no other run has: start, machine and seed. None where there is no row that tells."""
        table, start = (
            ("timings", "measured_at")
            if set(self.files) <= TIMING_TABLES
            else ("runs", "started_at")
        )
        row = self._first(table, start)
        return (row[start], row["host"], row["seed"]) if row else None

    def state(self, tables: set[str]) -> tuple[int, bool, int]:
        """How far the run had got: more is further. Values that are not null are counted in `tables`."""
        row = self._first("runs", "sessions") or {"sessions": 0, "ended_at": None}
        contents = [
            file.content
            for table, file in self.files.items()
            if table in tables and file.content is not None
        ]
        known = sum(
            len(content) - column.null_count for content in contents for column in content.columns
        )
        return row["sessions"], row["ended_at"] is not None, known

    def __str__(self) -> str:
        start, host, seed = self.identity or (None, None, None)
        return f"in {self.place.name} (of {start} on {host}, seed {seed})"

    def _first(self, table: str, column: str) -> Row | None:
        """A table's first row with a value there: in `timings`, unmeasured rows quote the study and come first."""
        content = self.files[table].content if table in self.files else None
        if content is None:
            return None
        rows: list[Row] = content.filter(content.column(column).is_valid()).slice(0, 1).to_pylist()
        return rows[0] if rows else None


def read_file(place: Place, table: str, run: str, known: Sequence[Checked] = ()) -> Checked:
    """One file, read and checked, or found to be one of those that are `known`."""
    try:
        data = place.read(table, run)
        same = next((file for file in known if file.data == data), None)
        with CHECKING:
            return same or check(data, table, run)
    except OSError as error:
        return Checked(b"", (f"can't be read: {str(error).partition(chr(10))[0]}",))


def furthest(copies: Sequence[Copy]) -> Copy:
    """The copy that got furthest, the first of equals. Raises UsageError when they are not all of one run.

    A copy that does not tell which run it is counts only where no other does.
    """
    if len(copies) == 1:
        return copies[0]
    telling = [copy for copy in copies if copy.identity]
    for other in telling:
        if other.identity != telling[0].identity:
            raise UsageError(
                f"the run {other.run} {telling[0]} and the one {other} are two runs of one name, "
                "and nothing of it was collected: collect one of them into another directory with --out"
            )
    # Tables that have a problem somewhere are not counted: a damaged file does not make a run less far
    bad = {table for copy in copies for table, file in copy.files.items() if file.problems}
    sound = {table for copy in copies for table in copy.files} - bad
    return max(telling or copies, key=lambda copy: copy.state(sound))
