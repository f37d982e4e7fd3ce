"""The command: one run as a self-contained page, and each of its figures as PDF and SVG.

    python -m analysis.report RUN                  # results/reports/RUN/report.html
    python -m analysis.report RUN --storage DIR --out paper

Exit status: 0, 1 when the files could not be written, 2 for a mistake on the command line.
"""

import argparse
import base64
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from analysis.console import Console, complain
from analysis.report.figures import Figure, Tables, figures
from analysis.tables import Row, read, rows_of, written_aside

PAGE = "report.html"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with `arguments`; the exit status."""
    options = _parser().parse_args(arguments)
    console = Console()
    out = options.out or options.storage / "reports" / options.run
    try:
        run = _run(options.storage, options.run)
        with console:
            page = write(options.storage / "tables", run, out, console)
    except ValueError as error:
        complain(error)
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


def write(tables: Path, run: Row, out: Path, console: Console) -> Path:
    """Write the page and its figures to `out`, each file whole or not at all; returns the page's path."""
    content = _read(tables, run)
    drawn = {name: _draw(name, figure, out, console) for name, figure in figures(run["run"], content).items()}
    path = out / PAGE
    with written_aside(path) as file:
        file.write(_page(tables, run, content, drawn, out).encode())
    return path


def _read(tables: Path, run: Row) -> Tables:
    import pandas as pd

    from analysis.labels import labelled
    from analysis.timing import comparison

    trials, epochs, accuracy, samples, timings = (
        read(tables, table, run["run"]) for table in ("trials", "epochs", "accuracy", "samples", "timings")
    )
    session = comparison.last_session(timings)
    passes = timings.head(0) if session is None else comparison.passes(timings, session)
    series = comparison.summary(passes) if len(passes) else pd.DataFrame()
    epochs = epochs.assign(run=epochs.run.astype(str))
    return Tables(labelled(trials, pd.DataFrame([run])), epochs, accuracy, samples, timings, passes, series)


def _draw(name: str, figure: Figure, out: Path, console: Console) -> dict[str, str]:
    from analysis.charts.style import saved

    console.progress(f"drawing {name}")
    for kind in ("pdf", "svg"):
        drawn = saved(figure.chart, kind)
        with written_aside(out / f"{name}.{kind}") as file:
            file.write(drawn)
    uri = "data:image/svg+xml;base64," + base64.b64encode(drawn).decode()
    return {"uri": uri, "title": figure.title, "caption": figure.caption}


def _page(tables: Path, run: Row, content: Tables, drawn: dict[str, Any], out: Path) -> str:
    import jinja2

    from analysis.ranking import ranked
    from analysis.report import facts
    from analysis.report.answer import answer, commands
    from analysis.views import DEVICES

    trials, accuracy = rows_of(tables, "trials", run["run"]), rows_of(tables, "accuracy", run["run"])
    best = ranked(trials)
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    template = environment.from_string(Path(__file__).with_name("page.html").read_text())
    devices = list(dict.fromkeys(content.series.device)) if len(content.series) else []
    searched = sum(row["confirms"] is None for row in trials)
    return template.render(
        run=run,
        answer=answer(run, accuracy, content, best),
        asked=facts.asked(run, trials),
        where=facts.where(run),
        best=facts.best_trial(best[0], searched, run["validation_images"]) if best else [],
        accuracy=facts.accuracy(accuracy),
        speeds={device: facts.speed(content.passes, content.series, device) for device in devices},
        study=facts.study(content.timings, content.series) if devices else None,
        hardware=_measurement(content) if devices else "",
        drawn=drawn,
        names=DEVICES,
        commands=commands(run, tables.parent, out),
    )


def _measurement(content: Tables) -> str:
    """On what and when the times were measured, and that there are others."""
    from analysis.labels import machines

    (one,) = machines(content.passes).itertuples()
    count = content.timings.session.nunique()
    return f"{one.hardware}, {one.measured_at:%Y-%m-%d %H:%M} UTC, session {one.session} of {count}"


if __name__ == "__main__":
    sys.exit(main())
