"""Write a report: the page with its figures, and each figure as PDF and SVG."""

import base64
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd

from analysis.charts.drawing import for_paper
from analysis.charts.labels import labelled, machines
from analysis.charts.style import specification
from analysis.charts.views import DEVICES, FEWEST_TRIALS, importances
from analysis.console import Console
from analysis.report import facts
from analysis.report.figures import Tables, figures
from analysis.tables.files import Row, read, rows_of
from analysis.tables.ranking import ranked
from analysis.timing import comparison
from trainables.atomic_write import atomic_write

PAGE = "report.html"


def write(
    storage: str, tables: Path, run: Row, out: Path, pool: Executor, console: Console
) -> Path:
    """Write the page and its figures, each file whole or not at all; return the page's path.

    Args:
        storage: The storage as it was typed, for the commands on the page.
        tables: The directory of its tables.
        run: The run's row of `runs`.
        out: The directory to write to.
        pool: Draws the figures and computes the importances, whose packages take long to import.
        console: For progress.

    Raises:
        UsageError: A table can't be read.
        OSError: `out` does not take a file.
    """
    content = _read(tables, run)
    shares = None
    if len(content.trials) >= FEWEST_TRIALS:
        shares = pool.submit(importances, content.trials)
    drawn, pending = {}, {}
    for figure in figures(run["run"], content, shares):
        drawn[figure.name] = {"title": figure.title, "caption": figure.caption}
        pending[figure.name] = pool.submit(for_paper, specification(figure.chart))
    values = _values(storage, tables, run, content, out)
    for name, future in pending.items():
        console.progress(f"drawing {name}")
        made = future.result()
        for kind, content_bytes in made.items():
            with atomic_write(out / f"{name}.{kind}") as aside:
                aside.write_bytes(content_bytes)
        drawn[name]["uri"] = "data:image/svg+xml;base64," + base64.b64encode(made["svg"]).decode()
    template = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined).from_string(
        Path(__file__).with_name("page.html").read_text()
    )
    path = out / PAGE
    with atomic_write(path) as aside:
        aside.write_text(template.render(drawn=drawn, **values))
    return path


def _read(tables: Path, run: Row) -> Tables:
    trials, epochs, accuracy, samples, timings = (
        read(tables, table, run["run"])
        for table in ("trials", "epochs", "accuracy", "samples", "timings")
    )
    session = comparison.last_session(timings)
    passes = timings.head(0) if session is None else comparison.passes(timings, session)
    series = comparison.summary(passes) if len(passes) else pd.DataFrame()
    epochs = epochs.assign(run=epochs.run.astype(str))
    return Tables(
        labelled(trials, pd.DataFrame([run])), epochs, accuracy, samples, timings, passes, series
    )


def _values(storage: str, tables: Path, run: Row, content: Tables, out: Path) -> dict[str, Any]:
    """Return what the page says, by the names that the template has for it."""
    trials = rows_of(tables, "trials", run["run"])
    accuracy = rows_of(tables, "accuracy", run["run"])
    best = ranked(trials)
    devices = list(dict.fromkeys(content.series.device)) if len(content.series) else []
    return {
        "run": run,
        "answer": facts.answer(run, accuracy, content, best),
        "asked": facts.asked(run, trials),
        "where": facts.where(run),
        "best": facts.best_trial(best[0], trials, run["validation_images"]) if best else [],
        "accuracy": facts.accuracy(accuracy, trials),
        "speeds": {
            device: facts.speed(content.passes, content.series, device) for device in devices
        },
        "study": facts.study(content.timings, content.series) if devices else None,
        "hardware": _measurement(content) if devices else "",
        "names": DEVICES,
        "commands": facts.commands(run, storage, out),
    }


def _measurement(content: Tables) -> str:
    """Say on what and when the times were measured, and that there are others."""
    (one,) = machines(content.passes).itertuples()
    return (
        f"{one.hardware}, {one.measured_at:%Y-%m-%d %H:%M} UTC, "
        f"session {one.session} of {content.timings.session.nunique()}"
    )
