"""What pages are made of: each kind of block is drawn by the template that has its name."""

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import altair as alt
import pandas as pd

from analysis.answer import Answer
from analysis.charts import style
from analysis.charts.drawing import converted, drawn
from analysis.charts.style import NothingToDrawError, specification
from analysis.dashboard.address import Address
from analysis.tables.files import as_csv

Chart = alt.Chart | alt.LayerChart
ROWS = 100  # of a table, on one page


@dataclass(frozen=True)
class KeyFigure:
    """A large number, with a note below it."""

    label: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class KeyFigures:
    """Large numbers in a row."""

    kind: ClassVar[str] = "key_figures"
    figures: Sequence[KeyFigure]


@dataclass(frozen=True)
class Heading:
    """A heading within the page."""

    kind: ClassVar[str] = "heading"
    text: str


@dataclass(frozen=True)
class Remark:
    """A sentence between the cards."""

    kind: ClassVar[str] = "remark"
    text: str


@dataclass(frozen=True)
class Hint:
    """Why there is nothing here yet, and what brings it."""

    kind: ClassVar[str] = "hint"
    text: str


@dataclass(frozen=True)
class Facts:
    """Names and what they are, in a card."""

    kind: ClassVar[str] = "facts"
    title: str
    pairs: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Code:
    """Lines to be copied, or a traceback, as they are."""

    kind: ClassVar[str] = "code"
    title: str
    text: str
    is_failure: bool = False


@dataclass(frozen=True)
class AnswerCard:
    """What a run answers.

    Attributes:
        link: To the run's page.
        state: What the run is doing, where it is not over.
        rows: Its best networks, floors and ceiling: name and scores, under `heads`.
        images: Name and address of an input, of what the pipeline and the network make of it.
    """

    kind: ClassVar[str] = "answer"
    run: str
    link: str
    found: Answer
    state: str
    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    images: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Option:
    """One of several ways to draw a page: a link that asks for it."""

    text: str
    link: str
    is_chosen: bool


@dataclass(frozen=True)
class Choices:
    """Ways to draw what follows, of which one is chosen."""

    kind: ClassVar[str] = "choices"
    label: str
    options: Sequence[Option]

    @classmethod
    def of(
        cls, address: Address, label: str, name: str, options: Mapping[str, str]
    ) -> tuple["Choices", str]:
        """Return the choices among `options` (value and text), and the value that is chosen."""
        chosen = address.chosen(name, options)
        first = next(iter(options))
        links = [
            Option(text, address.with_({name: None if value == first else value}), value == chosen)
            for value, text in options.items()
        ]
        return cls(label, links), chosen


@dataclass(frozen=True)
class Group:
    """Blocks beside each other, as many as fit."""

    kind: ClassVar[str] = "group"
    blocks: Sequence[Any]


@dataclass(frozen=True)
class Figure:
    """A chart in a card.

    Attributes:
        title: What it is.
        note: What is drawn, for screen readers too.
        name: Its block's, and that of the file that is saved.
        make: Makes the chart. Raises NothingToDrawError.
    """

    kind: ClassVar[str] = "figure"
    title: str
    note: str
    name: str
    make: Callable[[], Chart]
    kinds: ClassVar[tuple[str, ...]] = ("svg", "png", "pdf")

    @cached_property
    def chart(self) -> Chart | str:
        """The chart, or why there is nothing to draw."""
        try:
            return self.make()
        except NothingToDrawError as error:
            return f"{self.title}: {error}."

    @property
    def missing(self) -> str:
        """Why there is nothing to draw; empty where there is something."""
        return self.chart if isinstance(self.chart, str) else ""

    @property
    def specified(self) -> dict[str, Any]:
        """The chart for a page, as wide as its card."""
        return {} if isinstance(self.chart, str) else style.page(self.chart)

    def saved(self, kind: str) -> bytes:
        """Return the figure for paper. Raises NothingToDrawError."""
        return converted(drawn(specification(self.make())), kind)


@dataclass(frozen=True)
class Pictures:
    """Images in a grid: one column a test image.

    Attributes:
        rows: The name of each row, and its cells: the image's address and what stands below it.
        make: Makes the chart of the same for paper.
    """

    kind: ClassVar[str] = "pictures"
    title: str
    note: str
    name: str
    rows: Sequence[tuple[str, Sequence[tuple[str, str]]]]
    make: Callable[[], Chart]
    kinds: ClassVar[tuple[str, ...]] = ("svg", "png", "pdf")

    @classmethod
    def of(
        cls,
        title: str,
        note: str,
        name: str,
        cells: pd.DataFrame,
        rows: Sequence[str],
        make: Callable[[], Chart],
    ) -> "Pictures":
        """Take `cells` and `rows` as `views.image_grid` returns them."""
        grid = []
        for row in rows:
            mine = cells[cells.row == row].sort_values("column")
            notes = mine.note.fillna("").astype(str)
            grid.append((row, list(zip(mine.image, notes, strict=True))))
        return cls(title, note, name, grid, make)

    def saved(self, kind: str) -> bytes:
        """Return the images for paper."""
        return converted(drawn(specification(self.make())), kind)


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        key: In the frame.
        head: What stands above it.
        say: Makes the text of a value that is there.
        help: What a reader has to know of it.
        link: Makes the link of a row from its values.
        bar: Whether values, from 0 to 1, get a bar.
    """

    key: str
    head: str
    say: Callable[[Any], str] = str
    help: str = ""
    link: Callable[[Any], str] | None = None
    bar: bool = False
    is_number: bool = False


def number(key: str, head: str, form: str | Callable[[Any], str], **more: Any) -> Column:
    """Return a column of numbers; `form` is a format or makes their text."""
    say = (lambda value: format(value, form)) if isinstance(form, str) else form
    return Column(key, head, say, is_number=True, **more)


@dataclass(frozen=True)
class Cell:
    """What stands in a place of a table."""

    text: str
    link: str = ""
    share: float | None = None


@dataclass(frozen=True)
class Table:
    """A table in a card, which the address sorts.

    Attributes:
        frame: All columns, in the order of the rows unless the address asks for another.
        name: Its block's, and that of the file that is saved.
        picks: Of the box before a row: its name, what makes its value, where it leads to, and what
            the button says.
        search: The text that is searched for; None where there is no such field.
    """

    kind: ClassVar[str] = "table"
    title: str
    note: str
    name: str
    frame: pd.DataFrame
    columns: Sequence[Column]
    address: Address
    picks: tuple[str, Callable[[Any], str], str, str] | None = None
    search: str | None = None
    kinds: ClassVar[tuple[str, ...]] = ("csv", "parquet")

    @cached_property
    def shown(self) -> pd.DataFrame:
        """The rows in the order that the address asks for, those of its part of the table."""
        start = self.start
        return self._sorted.iloc[start : start + ROWS]

    @cached_property
    def _sorted(self) -> pd.DataFrame:
        key, descending = self.order
        if not key:
            return self.frame
        return self.frame.sort_values(
            key, ascending=not descending, kind="stable", na_position="last"
        )

    @property
    def order(self) -> tuple[str, bool]:
        """The column by which the address sorts, and whether it descends; empty for neither."""
        asked = self.address.one(f"{self.name}-by")
        key = asked.removeprefix("-")
        known = key in {column.key for column in self.columns}
        return (key, asked.startswith("-")) if known else ("", False)

    @property
    def start(self) -> int:
        """The first row that is shown, from 0."""
        asked = self.address.one(f"{self.name}-from")
        start = int(asked) if asked.isdecimal() and len(asked) < 10 else 0
        return start if start < len(self.frame) else 0

    @property
    def parts(self) -> list[Option]:
        """Links to the parts of a long table; none where one page has all of it."""
        name = f"{self.name}-from"
        if len(self.frame) <= ROWS:
            return []
        return [
            Option(
                f"{start + 1:,} to {min(start + ROWS, len(self.frame)):,}",
                self.address.with_({name: str(start) if start else None}),
                start == self.start,
            )
            for start in range(0, len(self.frame), ROWS)
        ]

    def heads(self) -> Iterator[tuple[Column, str, str]]:
        """Yield each column, the link that sorts by it, and how it is sorted now."""
        key, descending = self.order
        for column in self.columns:
            # Numbers from the best or largest first is not for a table to know: up, then down
            again = column.key == key and not descending
            by = f"-{column.key}" if again else column.key
            link = self.address.with_({f"{self.name}-by": by, f"{self.name}-from": None})
            state = "" if column.key != key else "descending" if descending else "ascending"
            yield column, link, state

    def rows(self) -> Iterator[tuple[str, list[Cell]]]:
        """Yield the value of each row's box, and its cells."""
        for row in self.shown.to_dict("records"):
            cells = []
            for column in self.columns:
                value = row[column.key]
                known = not (value is None or pd.isna(value))
                share = float(value) if column.bar and known else None
                link = column.link(row) if column.link else ""
                cells.append(Cell(column.say(value) if known else "–", link, share))
            yield self.picks[1](row) if self.picks else "", cells

    def saved(self, kind: str) -> bytes:
        """Return all rows and columns as a file."""
        if kind == "csv":
            return as_csv(self._sorted)
        buffer = io.BytesIO()
        self._sorted.to_parquet(buffer)
        return buffer.getvalue()


@dataclass(frozen=True)
class Page:
    """A page.

    Attributes:
        above: Text and link of the pages that this one belongs to.
    """

    title: str
    blocks: list[Any]
    above: Sequence[tuple[str, str]] = ()


def numbered(name: str, place: int) -> str:
    """Return a block's name where a page has several of its kind, the first at place 0."""
    return f"{name}-{place}" if place else name


def saveable(blocks: Sequence[Any]) -> Iterator[Any]:
    """Yield the blocks that can be saved, also those within groups."""
    for block in blocks:
        if isinstance(block, Group):
            yield from saveable(block.blocks)
        elif hasattr(block, "saved"):
            yield block
