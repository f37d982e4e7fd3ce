"""The script that Streamlit runs for every visitor and every change: frame, filters, page."""

import os
from pathlib import Path

import pandas as pd
import streamlit as st

from analysis.console import command_text
from analysis.dashboard import quality, search, speed, trials
from analysis.dashboard.parts import hint, remark
from analysis.dashboard.selection import choose
from analysis.dashboard.snapshot import STORAGE_VARIABLE, Store, opened_store
from analysis.tables.task_columns import changed_pipelines, tasks_of

POLL_SEC = 2
MARK = (
    "<path d='M4 6v20h24' fill='none' stroke='#6b7280' stroke-width='2.5'/>"
    "<path d='M8 12h6v7h7v4h7' fill='none' stroke='#0072B2' stroke-width='3'/>"
)
ICON = f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 32 32'>{MARK}</svg>"
LOGO = (
    f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 216 32'>{MARK}"
    "<text x='40' y='22' font-size='18' font-family='Source Sans, sans-serif' font-weight='600' "
    "fill='#2f2d2b'>transform-tuner</text></svg>"
)
PAGES = {  # name, what draws it, its icon
    "Search": (search.show, ":material/query_stats:"),
    "Trials": (trials.show, ":material/show_chart:"),
    "Quality": (quality.show, ":material/image:"),
    "Speed": (speed.show, ":material/timer:"),
}


def main(storage: Path) -> None:
    """Draw the page over the tables of `storage`."""
    st.set_page_config("transform-tuner", ICON, "wide")
    st.logo(LOGO, size="large")
    store = opened_store(storage)
    _watch(store, store.version())
    page = st.navigation(
        [
            st.Page(
                lambda show=show: show(selection),  # type: ignore[has-type, misc]  # chosen below
                title=title,
                icon=icon,
                url_path=title.lower(),
                default=title == "Search",
            )
            for title, (show, icon) in PAGES.items()
        ]
    )
    if not store.runs() and not store.runs("timings"):
        st.title("No runs yet", anchor=False)
        hint(
            f"{storage} has no tables. Start a search with: "
            + command_text("tuner.run", storage=str(storage))
        )
        return
    selection = choose(store)
    _state(selection.trials)
    st.title(page.title, anchor=False)
    _problems(store)
    for line in changed_pipelines(tasks_of(selection.runs.to_dict("records"))):
        remark(f"{line}.")
    if not selection.names:
        hint("Choose a run in the sidebar.")
        return
    page.run()


@st.fragment(run_every=POLL_SEC)
def _watch(store: Store, version: int) -> None:
    """Run the page again once a table has changed."""
    if store.version() != version:
        st.rerun()


def _state(trials: pd.DataFrame) -> None:
    running = int((trials.state == "running").sum())
    if running:
        st.sidebar.badge(f"{running} running", icon=":material/sync:", color="green")
    else:
        st.sidebar.badge("No trial running", icon=":material/check:", color="gray")


def _problems(store: Store) -> None:
    problems = store.problems()
    if problems:
        st.warning(
            f"{len(problems)} of the files can't be used and are left out:",
            icon=":material/warning:",
        )
        st.code("\n".join(problems[:20]), language=None, wrap_lines=True)


if __name__ == "__main__":
    main(Path(os.environ[STORAGE_VARIABLE]))
