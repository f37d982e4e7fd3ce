"""The first page: what the newest runs answer, and the table of all runs."""

from collections.abc import Iterator
from typing import Any

from analysis.dashboard import runs
from analysis.dashboard.blocks import Page
from analysis.dashboard.selection import Selection


def page(selection: Selection) -> Page:
    """Return the page."""
    return Page("Overview", list(_blocks(selection)))


def _blocks(selection: Selection) -> Iterator[Any]:
    yield runs.table(selection.every, selection.store.frame("trials"), selection.address)
