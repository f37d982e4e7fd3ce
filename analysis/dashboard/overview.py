"""The first page: what the newest runs answer, and the table of all runs."""

from collections.abc import Iterator
from typing import Any

from analysis.dashboard import run_table
from analysis.dashboard.answer_card import card
from analysis.dashboard.blocks import Page
from analysis.dashboard.selection import Selection

ANSWERS = 4  # cards


def page(selection: Selection) -> Page:
    """Return the page."""
    return Page("Overview", list(_blocks(selection)))


def _blocks(selection: Selection) -> Iterator[Any]:
    store = selection.store
    table = run_table.table(store, selection.every, store.frame("trials"), selection.address)
    if not table.order[0] and not table.start:  # who sorts or turns pages looks at the table
        for run in table.frame.head(ANSWERS).itertuples():
            name = str(run.run)
            yield card(
                store, name, store.state(name), selection.address.to_run(name), str(run.doing)
            )
    yield table
