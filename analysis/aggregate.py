"""The command: collect the tables of many runs, from here and from buckets, into one data set.

    python -m analysis.aggregate results s3://bucket/results --out all
    python -m analysis.aggregate results --out all --csv   # also all/csv/TABLE.csv, without images

Every file is checked; one with a problem is left out, and its problem is printed. Doing it again
changes only what is new.

Exit status: 0, 1 when there were problems or OUT did not take a file, 2 for a mistake on the
command line, 130 after Ctrl-C (files that were collected up to then are whole).
"""

import argparse
import os
import sys
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from threading import Semaphore

import pyarrow as pa
import pyarrow.compute as pc
from filelock import FileLock, Timeout
from pyarrow.csv import CSVWriter

from analysis.console import Console, command_text
from analysis.tables.checks import Checked, check
from analysis.tables.files import FORMULA, HARMLESS, Row, read_file, table_files, table_path
from analysis.tables.parquet import encoded
from analysis.tables.schema import TABLES, arrow_schema
from analysis.tables.table_sources import BUCKET, TableSource, open_collection, open_source
from analysis.tables.task_columns import changed_pipelines, tasks_of
from analysis.tables.version_4 import names_of
from trainables.atomic_write import atomic_write
from trainables.errors import UsageError, command, complain, first_line, prog

THREADS = 8  # more than cores: most of the time goes into waiting for the disk or the network
# More threads than cores wait for files well, but fight for Python's lock
CHECKING = Semaphore(os.cpu_count() or 1)


@dataclass(frozen=True)
class Outcome:
    """What became of one run: how many of its files, and what is wrong with others."""

    collected: int = 0
    unchanged: int = 0
    problems: tuple[str, ...] = ()


@command(
    interrupted="Interrupted; every file that was collected is whole. "
    "The same command goes on from here."
)
def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with `arguments`; returns the exit status."""
    options = parser().parse_args(arguments)
    console = Console()
    try:
        sources = [open_source(source) for source in options.sources]
        out = _prepared(options.out, sources)
        with console, FileLock(out / ".lock", timeout=0):
            outcomes = list(_collect_all(sources, open_collection(out), console))
            problems = [problem for outcome in outcomes for problem in outcome.problems]
            changed = changed_pipelines(tasks_of(_run_rows(out / "tables")))
            if options.csv:
                problems += write_csv_files(out / "tables", out / "csv", console)
    except Timeout as error:
        raise UsageError(
            f"another process is collecting into {options.out}: wait for it to end"
        ) from error
    except OSError as error:
        complain(
            f"{options.out} did not take everything ({error}): "
            "mend that and type the same command again"
        )
        return 1
    for problem in problems:
        complain(problem)
    for line in changed:
        console.line(line, style="yellow")
    collected = [outcome.collected for outcome in outcomes if outcome.collected]
    console.line(
        f"Runs: {len(outcomes):,}, with something new: {len(collected):,}. "
        f"Files collected: {sum(collected):,}, "
        f"unchanged: {sum(outcome.unchanged for outcome in outcomes):,}. "
        f"Problems: {len(problems):,}."
    )
    console.line(
        f"They lie in {options.out}. To look at them: "
        + command_text("analysis.dashboard", options.out)
    )
    return 1 if problems else 0


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog=prog("analysis.aggregate"),
        description="Collect the tables of many runs into one data set.",
    )
    parser.add_argument(
        "sources",
        metavar="SOURCE",
        nargs="+",
        help="storage directories, or s3://BUCKET/PATH, with "
        "?scheme=http&endpoint_override=HOST:PORT for a service of your own",
    )
    parser.add_argument(
        "--out",
        metavar="DIR",
        required=True,
        help="where they are collected: a storage directory too",
    )
    parser.add_argument(
        "--csv", action="store_true", help="also write DIR/csv/TABLE.csv, without images"
    )
    return parser


def _prepared(out: str, sources: Sequence[TableSource]) -> Path:
    """Make the directory OUT. Raises UsageError when it can't be one."""
    directory = Path(out)
    if "://" in out:
        raise UsageError(f"--out is {out}, should be a directory on this machine")
    for source in sources:
        is_local = not source.name.startswith(BUCKET)
        if is_local and (directory / "tables").resolve() == Path(source.root).resolve():
            raise UsageError(f"--out is the source {source.name}: type another directory")
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"--out {out} can't be a directory ({error.strerror}): type another one"
        ) from error
    return directory


def _collect_all(
    sources: Sequence[TableSource], out: TableSource, console: Console
) -> Iterator[Outcome]:
    # Those of OUT whose sources are gone too: files of version 4 become today's there
    runs = sorted({run for source in (*sources, out) for run in source.runs})
    pool = ThreadPoolExecutor(THREADS)
    try:
        for done, outcome in enumerate(
            pool.map(lambda run: _collect(run, sources, out), runs), start=1
        ):
            console.progress(f"collected {done:,} of {len(runs):,} runs")
            yield outcome
    finally:
        pool.shutdown(cancel_futures=True)


def _collect(run: str, sources: Sequence[TableSource], out: TableSource) -> Outcome:
    """Bring OUT's copy of one run to the most complete state that there is of it."""
    copies: list[Copy] = []
    for source in sources:
        if run in source.runs:
            copies.append(Copy.read(source, run, copies))
    kept = Copy.read(out, run, copies)
    problems = [problem for copy in copies for problem in copy.problems()]
    try:
        best = most_complete([*copies, kept] if kept.files else copies)
    except UsageError as error:
        return Outcome(problems=(*problems, str(error)))
    for copy in copies:
        if copy is not best and best.identity and not copy.identity:
            problems.append(
                f"the run {run} in {copy.source.name} has no readable row that tells whether it is "
                f"the one {best}, and nothing of it was collected: mend its table runs"
            )
    files = kept.files | {t: file for t, file in best.files.items() if not file.problems}
    sound = {table: _as_today(file) for table, file in files.items() if not file.problems}
    problems += kept.problems(but=sound)
    collected = 0
    for table, data in sound.items():
        if table not in kept.files or kept.files[table].data != data:
            with atomic_write(table_path(Path(out.root), table, run)) as aside:
                aside.write_bytes(data)
            collected += 1
        _remove_former(Path(out.root), table, run)
    return Outcome(collected, len(sound) - collected, tuple(problems))


def _remove_former(tables: Path, table: str, run: str) -> None:
    """Delete the file of version 4 that lies under a table's former name, beside today's."""
    for name in names_of(table)[:-1]:
        path = table_path(tables, name, run)
        if path.exists():
            path.unlink()
            with suppress(OSError):  # a folder that holds something else stays
                path.parent.rmdir()
                path.parent.parent.rmdir()


def _as_today(file: Checked) -> bytes:
    """Return a sound file's bytes, of today's version."""
    return encoded(file.content) if file.is_upgraded else file.data


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
            files[table] = checked_file(
                source, table, run, [copy.files[table] for copy in others if table in copy.files]
            )
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
    except (OSError, ValueError) as error:
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


def _run_rows(tables: Path) -> Iterator[Row]:
    """Yield the row of `runs` of every run that was ever collected; one with a problem was told."""
    outputs: dict[bytes, bytes] = {}  # of runs that agree, which most do, one copy in memory
    for path in table_files(tables, "runs"):
        with suppress(UsageError):
            for row in read_file(path, "runs").to_pylist():
                probes = row["probe_outputs"]
                yield row | {"probe_outputs": outputs.setdefault(probes, probes)}


def write_csv_files(tables: Path, directory: Path, console: Console) -> list[str]:
    """Write `directory`/TABLE.csv, whole or not at all, for each table that has runs.

    Args:
        tables: The directory that has a folder for each table.
        directory: Where to write.
        console: For the progress line.

    Returns:
        A sentence for each file of `tables` whose rows were left out.

    Raises:
        OSError: The disk is full or read-only.
    """
    problems = []
    for table in TABLES:
        sources = table_files(tables, table)
        path = directory / f"{table}.csv"
        console.progress(f"writing {path}")
        if sources:
            with atomic_write(path, keep_same=True) as aside:
                left_out = _write_csv(aside, table, sources)
            problems += [f"{path} is without the rows of {error}" for error in left_out]
    return problems


def _write_csv(path: Path, table: str, sources: list[Path]) -> list[UsageError]:
    left_out = []
    # No dictionaries, which a CSV file can't hold
    schema = pa.schema(
        (field.name, pa.string() if pa.types.is_dictionary(field.type) else field.type)
        for field in arrow_schema(table)
        if not pa.types.is_binary(field.type)
    )
    with CSVWriter(path, schema) as writer:
        for source in sources:
            try:
                content = read_file(source, table).select(schema.names).cast(schema)
            except UsageError as error:
                left_out.append(error)
            else:
                writer.write_table(_harmless(content))
    return left_out


def _harmless(content: pa.Table) -> pa.Table:
    for position, field in enumerate(content.schema):
        if pa.types.is_string(field.type):
            text = pc.replace_substring_regex(content.column(position), FORMULA, HARMLESS)
            content = content.set_column(position, field, text)
    return content


if __name__ == "__main__":
    sys.exit(main())
