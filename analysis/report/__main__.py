"""The command: runs as a page, Markdown or LaTeX, and its figures as PDF, SVG and PNG.

    python -m analysis.report RUN                  # results/reports/RUN/report.html
    python -m analysis.report RUN --format tex --out paper
    python -m analysis.report RUN RUN              # what several answer, as an atlas

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
from analysis.report.content import ATLAS
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
    names = list(dict.fromkeys(options.runs))
    called = names[0] if len(names) == 1 else ATLAS
    out = options.out or kept / "reports" / called
    tables = local_directory(options.storage) / "tables"
    runs = [run_of(options.storage, tables, name) for name in names]
    try:
        with console, extra_packages("a report", "dashboard"):
            page = _written(options.storage, tables, runs, out, options.format, console)
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
    console.line(f"Figures  {out}/{called}-*.pdf, *.svg and *.png")
    return 0


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog=prog("analysis.report"), description="A run, or several, as a page that can be cited."
    )
    parser.add_argument(
        "runs",
        nargs="+",
        metavar="RUN",
        help="name of the run; of several the report is an atlas",
    )
    parser.add_argument(
        "--storage",
        default=DEFAULT_STORAGE,
        help=f"where runs are kept, s3://BUCKET/PATH too (default: {DEFAULT_STORAGE})",
    )
    parser.add_argument(
        "--out",
        type=Path,
        help=f"directory to write to (default: STORAGE/reports/RUN, of several "
        f"STORAGE/reports/{ATLAS}, or for a bucket in {DEFAULT_STORAGE}/reports)",
    )
    parser.add_argument(
        "--format",
        choices=FORMATS,
        default=FORMATS[0],
        help="html: a page that needs nothing else; md: Markdown as GitHub reads it; tex: tables "
        "and figures to include into a paper (default: html)",
    )
    return parser


def _written(
    storage: str, tables: Path, runs: list[Row], out: Path, form: str, console: Console
) -> Path:
    """Write the report; figures and importances are made in processes of their own."""
    from analysis.charts.drawing import SMALLEST, drawn

    with ProcessPoolExecutor(2, get_context("spawn"), signal.signal, CTRL_C_IGNORED) as pool:
        # They start while this one imports what takes a second
        pool.submit(drawn, SMALLEST)
        from analysis.report.writing import write, write_several

        if len(runs) == 1:
            return write(storage, tables, runs[0], out, form, pool, console)
        names = [run["run"] for run in runs]
        return write_several(storage, tables, names, out, form, pool, console)


if __name__ == "__main__":
    sys.exit(main())
