"""The command: collect the tables of many runs, from here and from buckets, into one data set.

    python -m analysis.aggregate results s3://bucket/results --out all
    python -m analysis.aggregate results --out all --csv   # also all/csv/TABLE.csv, without images

Every file is checked; one with a problem is left out, and its problem is printed. Doing it again
changes only what is new.

Exit status: 0, 1 when there were problems or OUT did not take a file, 2 for a mistake on the
command line, 130 after Ctrl-C (files that were collected up to then are whole).
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from analysis.commands import command_text
from analysis.console import Console
from analysis.tables.copies import Copy, most_complete
from analysis.tables.csv_files import write_csv_files
from analysis.tables.files import table_path
from analysis.tables.table_sources import BUCKET, TableSource, open_collection, open_source
from trainables.atomic_write import atomic_write
from trainables.errors import UsageError, command, complain, prog

THREADS = 8  # more than cores: most of the time goes into waiting for the disk or the network


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
    collected = [outcome.collected for outcome in outcomes if outcome.collected]
    console.line(
        f"Runs: {len(outcomes):,}, with something new: {len(collected):,}. "
        f"Files collected: {sum(collected):,}, "
        f"unchanged: {sum(outcome.unchanged for outcome in outcomes):,}. "
        f"Problems: {len(problems):,}."
    )
    look = command_text("analysis.dashboard", options.out)
    console.line(f"They lie in {options.out}. To look at them: {look}")
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
    runs = sorted({run for source in sources for run in source.runs})
    pool = ThreadPoolExecutor(THREADS)
    try:
        outcomes = pool.map(lambda run: _collect(run, sources, out), runs)
        for done, outcome in enumerate(outcomes, start=1):
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
    sound = {table: file.data for table, file in best.files.items() if not file.problems}
    problems += kept.problems(but=sound)
    collected = 0
    for table, data in sound.items():
        if table not in kept.files or kept.files[table].data != data:
            with atomic_write(table_path(Path(out.root), table, run)) as aside:
                aside.write_bytes(data)
            collected += 1
    return Outcome(collected, len(sound) - collected, tuple(problems))


if __name__ == "__main__":
    sys.exit(main())
