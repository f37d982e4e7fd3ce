"""The command: what networks of many runs replace, as one table and one figure.

    python -m analysis.atlas                     # all runs of results/, into results/atlas/
    python -m analysis.atlas --runs fc-1 cnn-1 --out paper

Exit status: 0, 1 when the files could not be written, 2 for a mistake on the command line,
130 after Ctrl-C.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from analysis.console import DEFAULT_STORAGE, Console, command_text
from analysis.tables.bucket import local_directory
from analysis.tables.files import as_csv, run_of, table_files
from trainables.atomic_write import atomic_write
from trainables.errors import FAILED, UsageError, command, complain, extra_packages, prog

FIGURE = "atlas"


@command(interrupted="Interrupted; every file that was written is whole.")
def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with `arguments`; the exit status."""
    options = parser().parse_args(arguments)
    storage = local_directory(options.storage)
    tables = storage / "tables"
    names = options.runs or [
        path.parent.name.removeprefix("run=") for path in table_files(tables, "runs")
    ]
    if not names:
        raise UsageError(
            f"{options.storage} has no runs: give another --storage, or start searches with: "
            + command_text("tuner.atlas", storage=options.storage)
        )
    for name in options.runs:
        run_of(options.storage, tables, name)
    return write(storage, names, options.out or storage / "atlas", Console())


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog=prog("analysis.atlas"),
        description="What networks of many runs replace, as one table and one figure.",
    )
    parser.add_argument(
        "--storage",
        default=DEFAULT_STORAGE,
        help=f"where runs are kept, s3://BUCKET/PATH too (default: {DEFAULT_STORAGE})",
    )
    parser.add_argument(
        "--runs", nargs="+", default=[], metavar="RUN", help="names of runs (default: all)"
    )
    parser.add_argument("--out", type=Path, help="directory to write to (default: STORAGE/atlas)")
    return parser


def write(storage: Path, runs: Sequence[str], out: Path, console: Console) -> int:
    """Write the table as parquet, CSV and Markdown, and the figure; return the exit status.

    Raises UsageError where no run has a score yet, or the packages for figures are not installed.
    """
    with extra_packages("the atlas's figure", "dashboard"):
        from analysis.atlas.cells import best_of, markdown
        from analysis.charts.atlas import grades
        from analysis.charts.drawing import for_paper
        from analysis.charts.style import specification

        cells = best_of(storage, runs)
        if cells.empty:
            raise UsageError(
                f"none of the {len(runs)} runs in {storage} has scores of test images yet: finish "
                "a search, or give others with --runs"
            )
        files = {
            "csv": as_csv(cells),
            "md": markdown(cells).encode(),
            **for_paper(specification(grades(cells))),
        }
    try:
        for kind, content in files.items():
            with atomic_write(out / f"{FIGURE}.{kind}") as aside:
                aside.write_bytes(content)
        with atomic_write(out / f"{FIGURE}.parquet") as aside:
            cells.to_parquet(aside, index=False)
    except OSError as error:
        complain(f"the atlas could not be written ({error}): give another --out")
        return FAILED
    console.line(f"Atlas    {out}/{FIGURE}.md, *.csv and *.parquet: {len(cells)} cells")
    console.line(f"Figure   {out}/{FIGURE}.pdf, *.svg and *.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
