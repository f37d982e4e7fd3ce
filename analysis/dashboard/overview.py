"""The first page: what the newest runs answer, and the table of all runs."""

from collections.abc import Iterator
from typing import Any

from analysis.dashboard import run_table
from analysis.dashboard.answer_card import card
from analysis.dashboard.blocks import Page
from analysis.dashboard.selection import Selection

ANSWERS = 4  # cards


def page(selection: Selection, storage: str) -> Page:
    """Return the page; `storage` is as it was typed."""
    return Page("Overview", list(_blocks(selection, storage)))


def _blocks(selection: Selection, storage: str) -> Iterator[Any]:
    table = run_table.table(selection.every, selection.store.frame("trials"), selection.address)
    if not table.order[0] and not table.start:  # who sorts or turns pages looks at the table
        store = selection.store
        for run in table.frame.run.head(ANSWERS):
            yield card(store, run, store.state(run), selection.address.to_run(run), storage)
    yield table
