"""The command: one run as a self-contained page, and each of its figures as PDF and SVG.

    python -m analysis.report RUN                  # results/reports/RUN/report.html
    python -m analysis.report RUN --storage DIR --out paper

Exit status: 0, 1 when the files could not be written, 2 for a mistake on the command line.
"""

import argparse
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from analysis.console import Console, complain
from analysis.tables import Row, rows_of

SMALLEST = {"mark": "point", "data": {"values": []}}  # of all charts


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with `arguments`; the exit status."""
    options = _parser().parse_args(arguments)
    console = Console()
    out = options.out or options.storage / "reports" / options.run
    try:
        run = _run(options.storage, options.run)
        import vl_convert

        # The engine that draws takes a second to start, on one core, while the other imports and reads
        threading.Thread(target=vl_convert.vegalite_to_svg, args=(SMALLEST,), daemon=True).start()
        from analysis.report.files import write

        with console:
            page = write(options.storage / "tables", run, out, console)
    except ValueError as error:
        complain(error)
        return 2
    except ImportError as error:
        complain(f'a report needs {error.name}, which is not installed: pip install -e ".[dashboard]"')
        return 2
    except OSError as error:
        complain(f"the report could not be written ({error}): give another --out")
        return 1
    console.line(f"Report   {page} ({page.stat().st_size / 1000:,.0f} kB)")
    console.line(f"Figures  {out}/*.pdf and *.svg")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m analysis.report", description="One run as a page that can be cited."
    )
    parser.add_argument("run", metavar="RUN", help="name of the run")
    parser.add_argument("--storage", type=Path, default=Path("results"), help="where runs are kept (default: results)")
    parser.add_argument("--out", type=Path, help="directory to write to (default: STORAGE/reports/RUN)")
    return parser


def _run(storage: Path, name: str) -> Row:
    rows = rows_of(storage / "tables", "runs", name) if name not in ("", ".", "..") and "/" not in name else []
    if not rows:
        known = sorted(path.name[4:] for path in (storage / "tables" / "runs").glob("run=*"))
        raise ValueError(
            f"{storage} has no run {name!r}: give one of {', '.join(known) or '(there is none)'}, or --storage"
        )
    return rows[0]


if __name__ == "__main__":
    sys.exit(main())
