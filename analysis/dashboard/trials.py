"""The page Trials: learning curves, timeline, the table, and one trial opened."""

import pandas as pd
import streamlit as st

from analysis.charts import trials as charts
from analysis.charts import views
from analysis.dashboard.columns import COLUMNS
from analysis.dashboard.opened import show_trial
from analysis.dashboard.parts import card, hint, table
from analysis.dashboard.selection import Selection
from analysis.tables.ranking import frame_objective

TIMELINE = 300  # trials


def show(selection: Selection) -> None:
    """Draw the page."""
    trials = selection.trials.assign(objective=frame_objective(selection.trials))
    trials = trials.sort_values("objective", na_position="last", ignore_index=True).drop(
        columns="objective"
    )
    if trials.empty:
        hint("These runs have no trials yet.")
        return
    names = (trials.run + " / " + trials.trial.astype(str)).tolist()
    opened = st.selectbox(
        "Open a trial",
        names,
        index=None,
        key="trial",
        bind="query-params",
        placeholder="Choose one here or in the table",
    )
    if opened is not None:
        show_trial(selection, trials.iloc[names.index(opened)])
    _curves(selection, trials)
    _timeline(trials)
    table(
        "All trials",
        "Click a column's head to sort, the box before a row to open that trial.",
        trials,
        "trials",
        COLUMNS,
        height=380,
        selection_mode="single-row",
        on_select=lambda: _open(names),
    )


def _open(names: list[str]) -> None:
    rows = st.session_state["trials"].selection.rows
    st.session_state["trial"] = names[rows[0]] if rows else None


def _curves(selection: Selection, trials: pd.DataFrame) -> None:
    drawn = views.foremost(trials[trials.epochs > 0], views.CURVES)
    if drawn.empty:
        hint("No epoch has ended yet in these runs.")
        return
    epochs = selection.store.frame("epochs", drawn.run.unique())
    rows = epochs.merge(drawn[["run", "trial", "series"]], on=["run", "trial"])
    if rows.empty:
        return
    count = f"{len(drawn)} trials"
    if len(drawn) < len(trials):
        count = f"the {len(drawn)} best of {len(trials):,} trials"
    note = (
        f"Validation loss of {count} by epoch; the best trial of each network stands out, its "
        "training loss dashed."
    )
    card("Learning curves", note, "curves", charts.curves, rows, views.bests(drawn))


def _timeline(trials: pd.DataFrame) -> None:
    runs = trials.groupby("run").started_at.max().sort_values(ascending=False).index
    shown = trials[trials.run == runs[0]].sort_values("trial").head(TIMELINE)
    now = trials.ended_at.max() if (trials.state != "running").all() else pd.Timestamp.now("UTC")
    which = f" of the newest run, {runs[0]}" if len(runs) > 1 else ""
    note = f"When each trial{which} ran and what ended it."
    card("Timeline", note, "timeline", charts.timeline, shown, now)
