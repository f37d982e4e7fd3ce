"""The page Trials: learning curves, timeline, and the table in which trials are chosen."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import pandas as pd

from analysis.charts import trials as charts
from analysis.charts import views
from analysis.charts.measures import MEASURES, panels
from analysis.dashboard.axes import OVER, SMOOTHING, measure_choices, scale_choices
from analysis.dashboard.blocks import Choices, Figure, Heading, Hint, Page, Table, numbered
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
        yield Hint("There are no trials of these runs yet, or their table can't be used.")
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
    if not (trials.epochs > 0).any():
        yield Hint("No epoch has ended yet in these runs.")
        return
    address = selection.address
    measures, measure = measure_choices(address, trials)
    scales, scale = scale_choices(address, measure)
    overs, over = Choices.of(address, "Over", "over", OVER)
    smoothings, smoothing = Choices.of(address, "Smoothing", "smoothing", SMOOTHING)
    yield from (measures, scales, overs, smoothings)
    of = MEASURES[measure]
    for place, (panel, of_panel) in enumerate(panels(trials, measure).items()):
        drawn = views.foremost(of_panel[of_panel.epochs > 0], views.CURVES)
        rows = selection.store.frame("epochs", drawn.run.unique()).merge(
            drawn[["run", "trial", "series"]], on=["run", "trial"]
        )
        if rows.empty:
            continue
        if panel:
            yield Heading(panel)
        dashed = ", its training loss dashed" if measure == "loss" else ""
        yield Figure(
            "Learning curves",
            f"{of.title(trials)} of {views.counted(len(drawn), len(of_panel))} by {over}; the best "
            f"trial of each network stands out{dashed}."
            + (views.zero_losses(rows[of.name], "epoch") if scale == "log" else ""),
            numbered("curves", place),
            partial(
                charts.curves,
                rows,
                views.bests(drawn),
                measure=measure,
                scale=scale,
                over=over,
                smoothing=float(smoothing),
                names=selection.series,
            ),
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
