"""The page of one run: what was asked, where it ran, and how to go on with it."""

import json
from collections.abc import Iterator
from functools import partial
from typing import Any

from analysis.charts.usage import PANELS, over_time, usage
from analysis.console import command_text
from analysis.dashboard import run_table
from analysis.dashboard.answer_card import card
from analysis.dashboard.blocks import Code, Facts, Figure, Group, Page
from analysis.dashboard.selection import Selection
from analysis.report import facts
from analysis.tables.files import Row
from analysis.tables.schema import USAGE_EVERY_SEC

ORIGINS = {"flag": "typed", "file": "from --config", "run": "from --like"}
"""What the page says of a setting by its origin, as the column `given` has it."""


def page(selection: Selection) -> Page:
    """Return the page of the selection's only run."""
    (row,) = selection.store.rows("runs", selection.names[0])
    above = [("All runs", selection.address.root)]
    return Page(f"Run {row['run']}", list(_blocks(selection, row)), above)


def _blocks(selection: Selection, run: Row) -> Iterator[Any]:
    name, store = str(run["run"]), selection.store
    trials = store.rows("trials", name)
    doing = run_table.doing(run, len(selection.all_trials), store.quiet_sec(name))
    yield card(store, name, store.state(name), selection.address.to_run(name), doing)
    yield Code("Command", str(run["command"]))
    yield Facts("What was asked", [("Status", doing), *facts.asked(run, trials, {})])
    yield Facts("The pipeline", facts.pipeline(run))
    yield from _usage(selection, run)
    yield Facts("Where", facts.where(run))
    yield Facts("Configuration", _config(run))
    again = [
        command_text("tuner.run", "--resume", name, storage=store.typed),
        command_text("analysis.timing", "--run", name, storage=store.typed),
        command_text("analysis.report", name, storage=store.typed),
    ]
    yield Code("Go on: resume it, time it, write its report", "\n".join(again))


def _usage(selection: Selection, run: Row) -> Iterator[Group]:
    """Yield what its trials took of their machines over time, a figure for each thing."""
    taken = over_time(selection.store.frame("usage", [run["run"]]), run["started_at"])
    figures = [
        Figure(
            panel.title,
            f"Of all trials together, sampled every {USAGE_EVERY_SEC:g} s.",
            f"usage-{name}",
            partial(usage, taken, panel),
        )
        for name, panel in PANELS.items()
        if taken[panel.column].notna().any()
    ]
    if figures:
        yield Group(figures)


def _config(run: Row) -> list[tuple[str, str]]:
    """Return each setting with its value, and where it comes from if it was given."""
    origins = json.loads(run["given"] or "{}")
    return [
        (
            name,
            (value if isinstance(value, str) else json.dumps(value))
            + (f" · {ORIGINS[origins[name]]}" if name in origins else ""),
        )
        for name, value in json.loads(run["config"]).items()
        if value is not None
    ]
