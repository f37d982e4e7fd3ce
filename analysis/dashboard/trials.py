"""The page Trials: learning curves, timeline, and the table in which trials are chosen."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import pandas as pd

from analysis.charts import trials as charts
from analysis.charts import views
from analysis.dashboard.blocks import Figure, Hint, Page, Table
from analysis.dashboard.selection import Selection
from analysis.dashboard.trial_columns import columns
from analysis.tables.ranking import beside_each_other, order_in_words

TIMELINE = 300  # trials


def page(selection: Selection) -> Page:
    """Return the page."""
    return Page("Trials", list(_blocks(selection)))


def _blocks(selection: Selection) -> Iterator[Any]:
    order = beside_each_other(selection.trials).sort_values(kind="stable").index
    trials = selection.trials.loc[order].reset_index(drop=True)
    if trials.empty:
        yield Hint("These runs have no trials yet.")
        return
    yield from _curves(selection, trials)
    yield _timeline(trials)
    yield Table(
        "All trials",
        f"By {order_in_words(trials)}, or by the column whose head you click. Tick trials to "
        "compare them.",
        "trials",
        trials,
        columns(trials, selection.space, selection.address),
        selection.address,
        picks=(
            "trial",
            lambda row: f"{row['run']}/{row['trial']}",
            selection.address.root + "compare",
            "Compare the ticked trials",
        ),
    )


def _curves(selection: Selection, trials: pd.DataFrame) -> Iterator[Any]:
    drawn = views.foremost(trials[trials.epochs > 0], views.CURVES)
    if drawn.empty:
        yield Hint("No epoch has ended yet in these runs.")
        return
    rows = selection.store.frame("epochs", drawn.run.unique()).merge(
        drawn[["run", "trial", "series"]], on=["run", "trial"]
    )
    if not rows.empty:
        yield Figure(
            "Learning curves",
            f"Validation loss of {views.counted(len(drawn), len(trials))} by epoch; the best trial "
            "of each network stands out, its training loss dashed."
            + views.zero_losses(rows.validation_loss, "epoch"),
            "curves",
            partial(charts.curves, rows, views.bests(drawn)),
        )


def _timeline(trials: pd.DataFrame) -> Figure:
    runs = trials.groupby("run").started_at.max().sort_values(ascending=False).index
    which = f" of the newest run, {runs[0]}" if len(runs) > 1 else ""
    ended = trials.ended_at.max() if (trials.state != "running").all() else pd.Timestamp.now("UTC")
    shown = trials[trials.run == runs[0]].sort_values("trial").head(TIMELINE)
    return Figure(
        "Timeline",
        f"When each trial{which} ran and what ended it.",
        "timeline",
        partial(charts.timeline, shown, ended),
    )
