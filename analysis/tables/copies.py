"""Copies of one run in several places: are they one run, and which is the most complete."""

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from threading import Semaphore

from analysis.tables.checks import Checked, check
from analysis.tables.files import Row
from analysis.tables.table_sources import TableSource
from trainables.errors import UsageError, first_line

# More threads than cores wait for files well, but fight for Python's lock
CHECKING = Semaphore(os.cpu_count() or 1)


@dataclass(frozen=True)
class Copy:
    """A run as one source has it, read and checked."""

    source: TableSource
    run: str
    files: dict[str, Checked]
    """By table."""

    @classmethod
    def read(cls, source: TableSource, run: str, others: Sequence["Copy"] = ()) -> "Copy":
        """Read every table that the source has of the run, each file once.

        Args:
            others: Copies that were read before; a file with the bytes of one of theirs is not
                checked again.
        """
        files = {}
        for table in source.runs.get(run, ()):
            known = [copy.files[table] for copy in others if table in copy.files]
            files[table] = checked_file(source, table, run, known)
        return cls(source, run, files)

    def problems(self, but: Collection[str] = ()) -> list[str]:
        """Return what is wrong with its files, in whole sentences, without the tables `but`."""
        return [
            f"{self.source.where(table, self.run)}: {problem}"
            for table, file in self.files.items()
            if table not in but
            for problem in file.problems
        ]

    @cached_property
    def identity(self) -> tuple[object, ...] | None:
        """Start, machine and seed, which no two runs share; None where no row says them."""
        timed_only = set(self.files) <= {"timings", "cards"}  # as a timing without a search leaves
        start = "measured_at" if timed_only else "started_at"
        row = self._first("timings" if timed_only else "runs", start)
        return (row[start], row["host"], row["seed"]) if row else None

    def completeness(self, tables: set[str]) -> tuple[int, bool, int]:
        """Return how far the run had got, as something to compare: the larger the further.

        These are its sessions, whether it has ended, and how many values in `tables` are not null.
        """
        row = self._first("runs", "sessions") or {"sessions": 0, "ended_at": None}
        known = sum(
            len(column) - column.null_count
            for table, file in self.files.items()
            if table in tables and file.content is not None
            for column in file.content.columns
        )
        return row["sessions"], row["ended_at"] is not None, known

    def __str__(self) -> str:
        start, host, seed = self.identity or (None, None, None)
        return f"in {self.source.name} (of {start} on {host}, seed {seed})"

    def _first(self, table: str, column: str) -> Row | None:
        """Return a table's first row with a value in `column`.

        In `timings`, rows that quote the study come first and say nothing of a machine.
        """
        content = self.files[table].content if table in self.files else None
        if content is None:
            return None
        rows = content.filter(content.column(column).is_valid()).slice(0, 1).to_pylist()
        return next(iter(rows), None)


def checked_file(
    source: TableSource, table: str, run: str, known: Sequence[Checked] = ()
) -> Checked:
    """Read and check one file; one with the bytes of a file that is `known` is taken for that."""
    try:
        data = source.read(table, run)
    except OSError as error:
        return Checked(b"", (f"can't be read: {first_line(error)}",))
    same = next((file for file in known if file.data == data), None)
    with CHECKING:
        return same or check(data, table, run)


def most_complete(copies: Sequence[Copy]) -> Copy:
    """Return the copy that got furthest, the first of equals.

    A copy that does not say which run it is counts only where no other does.

    Raises:
        UsageError: They are copies of two runs of one name.
    """
    if len(copies) == 1:
        return copies[0]
    known = [copy for copy in copies if copy.identity]
    for other in known:
        if other.identity != known[0].identity:
            raise UsageError(
                f"the run {other.run} {known[0]} and the one {other} are two runs of one name, and "
                "nothing of it was collected: collect one of them into another directory with --out"
            )
    # Tables that have a problem somewhere do not count: a damaged file makes no run less complete
    bad = {table for copy in copies for table, file in copy.files.items() if file.problems}
    sound = {table for copy in copies for table in copy.files} - bad
    return max(known or copies, key=lambda copy: copy.completeness(sound))
