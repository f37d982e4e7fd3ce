"""The command: one run as a page, Markdown or LaTeX, and its figures as PDF, SVG and PNG.

    python -m analysis.report RUN                  # results/reports/RUN/report.html
    python -m analysis.report RUN --format tex --out paper

Exit status: 0, 1 when the files could not be written, 2 for a mistake on the command line,
130 after Ctrl-C.
"""

import argparse
import signal
import sys
from collections.abc import Sequence
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from analysis.console import DEFAULT_STORAGE, Console
from analysis.tables.bucket import local_directory
from analysis.tables.files import Row, run_of
from analysis.tables.table_sources import BUCKET
from trainables.errors import (
    FAILED,
    command,
    complain,
    extra_packages,
    prog,
)

FORMATS = ("html", "md", "tex")
CTRL_C_IGNORED = (signal.SIGINT, signal.SIG_IGN)


@command(interrupted="Interrupted; every file that was written is whole.")
def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with `arguments`; the exit status."""
    options = parser().parse_args(arguments)
    console = Console()
    kept = Path(DEFAULT_STORAGE if options.storage.startswith(BUCKET) else options.storage)
    out = options.out or kept / "reports" / options.run
    tables = local_directory(options.storage) / "tables"
    run = run_of(options.storage, tables, options.run)
    try:
        with console, extra_packages("a report", "dashboard"):
            page = _written(options.storage, tables, run, out, options.format, console)
    except BrokenExecutor:
        complain(
            "a process that draws figures was killed, most likely for want of memory: "
            "end others and try again"
        )
        return FAILED
    except OSError as error:
        complain(f"the report could not be written to {out} ({error.strerror}): give another --out")
        return FAILED
    console.line(f"Report   {page} ({page.stat().st_size / 1000:,.0f} kB)")
    console.line(f"Figures  {out}/{options.run}-*.pdf, *.svg and *.png")
    return 0


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog=prog("analysis.report"), description="One run as a page that can be cited."
    )
    parser.add_argument("run", metavar="RUN", help="name of the run")
    parser.add_argument(
        "--storage",
        default=DEFAULT_STORAGE,
        help=f"where runs are kept, s3://BUCKET/PATH too (default: {DEFAULT_STORAGE})",
    )
    parser.add_argument(
        "--out",
        type=Path,
        help="directory to write to (default: STORAGE/reports/RUN, or for a bucket "
        f"{DEFAULT_STORAGE}/reports/RUN)",
    )
    parser.add_argument(
        "--format",
        choices=FORMATS,
        default=FORMATS[0],
        help="html: a page that needs nothing else; md: Markdown as GitHub reads it; tex: tables "
        "and figures to include into a paper (default: html)",
    )
    return parser


def _written(storage: str, tables: Path, run: Row, out: Path, form: str, console: Console) -> Path:
    """Write the report; figures and importances are made in processes of their own."""
    from analysis.charts.drawing import SMALLEST, drawn

    with ProcessPoolExecutor(2, get_context("spawn"), signal.signal, CTRL_C_IGNORED) as pool:
        # They start while this one imports what takes a second
        pool.submit(drawn, SMALLEST)
        from analysis.report.writing import write

        return write(storage, tables, run, out, form, pool, console)


if __name__ == "__main__":
    sys.exit(main())
