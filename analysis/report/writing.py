"""Write a report: the page with its figures, and each figure as PDF and SVG."""

import base64
from collections.abc import Iterable
from concurrent.futures import Executor, Future
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd

from analysis.charts.drawing import for_paper
from analysis.charts.labels import labelled, machines
from analysis.charts.style import NothingToDrawError, specification
from analysis.charts.views import DEVICES, FEWEST_TRIALS, importances
from analysis.console import Console, command_text
from analysis.report import facts
from analysis.report.figures import Figure, Tables, figures
from analysis.tables.files import Row, read, rows_of
from analysis.tables.parameters import shown_space
from analysis.tables.ranking import goal_of, has_mixed_losses, ranked
from analysis.timing import comparison
from trainables.atomic_write import atomic_write
from trainables.errors import first_line
from trainables.networks.registry import AUTO

PAGE = "report.html"


def write(
    storage: str, tables: Path, run: Row, out: Path, pool: Executor, console: Console
) -> Path:
    """Write the page and its figures, all of them or none; return the page's path.

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
        shares = pool.submit(importances, content.trials, content.space)
    drawn = _drawn(figures(run["run"], content, shares), pool, console)
    values = _values(storage, tables, run, content, out)
    template = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined).from_string(
        Path(__file__).with_name("page.html").read_text(encoding="utf-8")
    )
    files = {PAGE: template.render(drawn=drawn, **values).encode()}
    for name, figure in drawn.items():
        files |= {f"{name}.{kind}": data for kind, data in figure.files.items()}
    # Each is written aside before the first takes its place, the page last
    with ExitStack() as stack:
        for name, data in files.items():
            stack.enter_context(atomic_write(out / name)).write_bytes(data)
    return out / PAGE


@dataclass(frozen=True)
class Drawn:
    """A figure as the page shows it.

    Attributes:
        caption: What a reader has to know of it, or why it is left out.
        files: Its bytes by kind, `svg` and `pdf`; none where it is left out.
    """

    title: str
    caption: str
    files: dict[str, bytes]

    @property
    def uri(self) -> str:
        """The figure for the `src` of an image."""
        return "data:image/svg+xml;base64," + base64.b64encode(self.files["svg"]).decode()


def _drawn(every: Iterable[Figure], pool: Executor, console: Console) -> dict[str, Drawn]:
    """Draw figures, by name. One that can't be drawn is left out, which is printed too."""
    pending = [(figure, _begun(figure, pool)) for figure in every]
    found = {}
    for figure, future in pending:
        console.progress(f"drawing {figure.name}")
        caption, files = figure.caption, {}
        try:
            files = future.result()
        except (NothingToDrawError, ValueError) as error:  # ValueError of the renderer
            caption = f"Left out: {first_line(error)}."
            console.line(f"The figure {figure.name} is left out: {first_line(error)}", "yellow")
        found[figure.name] = Drawn(figure.title, caption, files)
    return found


def _begun(figure: Figure, pool: Executor) -> Future[dict[str, bytes]]:
    try:
        return pool.submit(for_paper, specification(figure.chart()))
    except NothingToDrawError as error:
        nothing: Future[dict[str, bytes]] = Future()
        nothing.set_exception(error)
        return nothing


def _read(tables: Path, run: Row) -> Tables:
    trials, epochs, scores, samples, timings = (
        read(tables, table, run["run"])
        for table in ("trials", "epochs", "scores", "samples", "timings")
    )
    session = comparison.last_session(timings)
    turns = timings.head(0) if session is None else comparison.turns(timings, session)
    series = comparison.summary(turns) if len(turns) else pd.DataFrame()
    epochs = epochs.assign(run=epochs.run.astype(str))
    runs = pd.DataFrame([run])
    trials = labelled(trials, runs)
    space = shown_space(runs, trials)
    return Tables(trials, space, epochs, scores, samples, timings, turns, series)


def _values(storage: str, tables: Path, run: Row, content: Tables, out: Path) -> dict[str, Any]:
    """Return what the page says, by the names that the template has for it."""
    trials = rows_of(tables, "trials", run["run"])
    scores = rows_of(tables, "scores", run["run"])
    best = ranked(trials, goal_of(run).between(has_mixed_losses(run)))
    devices = list(dict.fromkeys(content.series.device)) if len(content.series) else []
    return {
        "run": run,
        "network": "" if run["model"] == AUTO else run["model"],
        "answer": facts.answer(run, storage, scores, content, best),
        "asked": facts.asked(run, trials),
        "where": facts.where(run),
        "best": facts.best_trial(best[0], trials, run) if best else [],
        "searched": facts.searched(best[0], run) if best else None,
        "accuracy": facts.accuracy(run, scores, trials),
        "speeds": {
            device: facts.speed(content.turns, content.series, device) for device in devices
        },
        "study": facts.study(content.timings, content.series) if devices else None,
        "hardware": _measurement(content) if devices else "",
        "names": DEVICES,
        "timing_command": command_text("analysis.timing", "--run", run["run"], storage=storage),
        "commands": facts.commands(run, storage, out),
    }


def _measurement(content: Tables) -> str:
    """Say on what and when the times were measured, and that there are others."""
    (one,) = machines(content.turns).itertuples()
    return (
        f"{one.hardware}, {one.measured_at:%Y-%m-%d %H:%M} UTC, "
        f"session {one.session} of {content.timings.session.nunique()}"
    )
