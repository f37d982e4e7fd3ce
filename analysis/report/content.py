"""What a report holds, whatever it is written as: sections of facts, tables, code and figures."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

ATLAS = "atlas"
"""What the report of several runs is called by, and its figures and tables."""
INTERVAL = re.compile(r" (\[[^\]]*\])$")


@dataclass(frozen=True)
class Facts:
    """Names with what is said of each."""

    kind: ClassVar[str] = "facts"
    pairs: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Grid:
    """A table: its heads, its rows of text, and what has to be said of it.

    Attributes:
        name: A word that tells it from the run's others, for files and references.
        title: What it is.
        heads: Of its columns; that of the first is empty where it needs none.
        rows: A text for each column. An interval follows its value: `99.8 % [99.7, 99.9]`.
        remarks: What a reader has to know of it, in sentences.
    """

    kind: ClassVar[str] = "grid"
    name: str
    title: str
    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    remarks: Sequence[str] = ()


@dataclass(frozen=True)
class Picture:
    """A figure that is drawn, or why it is not.

    Attributes:
        name: A word that tells it from the run's others.
        stem: Name of its files, without an ending.
        title: What it is.
        caption: What a reader has to know of it, or why it is left out.
        files: Its bytes by kind, `svg`, `pdf` and `png`; none where it is left out.
    """

    kind: ClassVar[str] = "picture"
    name: str
    stem: str
    title: str
    caption: str
    files: Mapping[str, bytes]


@dataclass(frozen=True)
class Code:
    """Lines that a person types."""

    kind: ClassVar[str] = "code"
    lines: str


@dataclass(frozen=True)
class Remark:
    """A paragraph."""

    kind: ClassVar[str] = "remark"
    text: str


Block = Facts | Grid | Picture | Code | Remark


@dataclass(frozen=True)
class Section:
    """Blocks below a title; `level` 3 for a part of the section before it."""

    title: str
    blocks: Sequence[Block]
    level: int = 2


@dataclass(frozen=True)
class Report:
    """All that is said of a run, or of several.

    Attributes:
        name: The run's, which its figures and tables are called by too.
        question: What is asked.
        reply: The answer in a word or two.
        sentence: The answer in a sentence.
        reasons: What the answer rests on, in sentences.
        sections: What else there is to say.
    """

    name: str
    question: str
    reply: str
    sentence: str
    reasons: Sequence[str]
    sections: Sequence[Section]


def parted(cell: str) -> tuple[str, str]:
    """Return a cell of a table as a value and the interval that follows it, empty without one."""
    found = INTERVAL.search(cell)
    return (cell[: found.start()], found[1]) if found else (cell, "")
