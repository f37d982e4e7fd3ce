"""What is shown: the filters in the sidebar, which live in the address, and what they leave."""

from dataclasses import dataclass

import pandas as pd
import streamlit as st

from analysis.charts.labels import data_names, labelled, task_names
from analysis.dashboard.parts import plain
from analysis.dashboard.snapshot import Store
from analysis.tables.parameters import shown_space
from trainables.hyperparameters import Parameter


@dataclass(frozen=True)
class Selection:
    """The runs that are shown, and their tables.

    Attributes:
        trials: Trials of the search with `series`, `ending` and `state`, as `labels.labelled` makes
            them.
        space: What their hyperparameters may be, all runs together.
    """

    store: Store
    names: tuple[str, ...]
    runs: pd.DataFrame
    trials: pd.DataFrame
    space: dict[str, Parameter]

    def table(self, table: str) -> pd.DataFrame:
        """Return a table's rows of the chosen runs.

        Without its row of `runs` only the timings of a run can be shown.
        """
        return self.store.frame(table, self.names if table == "timings" else self.runs.run)


def choose(store: Store) -> Selection:
    """Draw the filters, and return what they leave."""
    runs = store.frame("runs").sort_values("started_at", ascending=False)
    with st.sidebar:
        named = {"data_name": data_names(runs), "task_name": task_names(runs)}
        by_run = {column: names.reindex(runs.run).to_numpy() for column, names in named.items()}
        runs_left = _filtered(runs.assign(**by_run))
        # Timings without a search are named by their times
        alone = sorted(set(store.runs("timings")) - set(store.runs()), reverse=True)
        options = [*runs_left.run, *alone]
        _begin_with_newest(options)
        names = st.multiselect(
            "Runs",
            options,
            key="runs",
            bind="query-params",
            placeholder="Choose runs",
            help="Newest first. What is shown here is in the address: a copy of it shows the same.",
        )
    chosen = runs[runs.run.isin(names)]
    trials = labelled(store.frame("trials", chosen.run), chosen)
    return Selection(store, tuple(names), chosen, trials, shown_space(chosen, trials))


def _begin_with_newest(options: list[str]) -> None:
    """Choose the newest run at the first visit, and where a filter leaves none of the chosen ones.

    It is a choice and not a default: the address has only what was chosen, and tomorrow another run
    is the newest.
    """
    if "runs" in st.session_state:
        chosen = st.session_state["runs"]
        if chosen and not set(chosen) & set(options):
            st.session_state["runs"] = options[:1]
    elif "runs" not in st.query_params and options:
        st.query_params["runs"] = options[:1]  # the widget writes only what was chosen by hand
        st.session_state["runs"] = options[:1]


def _filtered(runs: pd.DataFrame) -> pd.DataFrame:
    filters = (
        ("pipelines", "Pipelines", "task_name"),
        ("networks", "Networks", "model"),
        ("data", "Data", "data_name"),
    )
    for key, label, column in filters:
        options = sorted(runs[column].unique())
        if len(options) > 1:
            wanted = st.pills(
                label,
                options,
                selection_mode="multi",
                key=key,
                bind="query-params",
                format_func=plain,
            )
            runs = runs[runs[column].isin(wanted)] if wanted else runs
    return runs
