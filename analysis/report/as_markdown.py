"""A report as Markdown, as GitHub reads it; its figures are files beside it."""

import re
from collections.abc import Iterable, Iterator

from analysis.answer import RULE
from analysis.report.content import Block, Code, Facts, Grid, Picture, Remark, Report

SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~$])")


def as_markdown(report: Report) -> str:
    """Return the report as the text of a file."""
    lines = [
        f"# {_plain(report.question)}",
        f"**{_plain(report.reply)}.** {_plain(report.sentence)}",
        _list([*report.reasons, RULE]),
    ]
    for section in report.sections:
        lines.append(f"{'#' * section.level} {_plain(section.title)}")
        for block in section.blocks:
            lines += _lines(block)
    return "\n\n".join(lines) + "\n"


def _lines(block: Block) -> Iterator[str]:
    """Yield paragraphs."""
    match block:
        case Facts():
            yield "\n".join(f"- **{_plain(name)}:** {_plain(said)}" for name, said in block.pairs)
        case Grid():
            yield f"**{_plain(block.title)}**"
            yield _table(block)
            yield _list(block.remarks)
        case Picture():
            said = f"**{_plain(block.title)}.** {_plain(block.caption)}"
            if block.files:
                yield f"![{_plain(block.title)}](<{block.stem}.svg>)"
            yield said
        case Code():
            yield f"```\n{block.lines}\n```"
        case Remark():
            yield _plain(block.text)


def _table(grid: Grid) -> str:
    """Return a table, every column but the first set to the right."""
    marks = ["---", *("---:" for _ in grid.heads[1:])]
    plain = [[_plain(cell) for cell in row] for row in (grid.heads, *grid.rows)]
    return "\n".join(f"| {' | '.join(row)} |" for row in (plain[0], marks, *plain[1:]))


def _list(sentences: Iterable[str]) -> str:
    return "\n".join(f"- {_plain(sentence)}" for sentence in sentences)


def _plain(text: str) -> str:
    """Return text in which no character means anything."""
    return SPECIAL.sub(r"\\\1", " ".join(text.split()))
