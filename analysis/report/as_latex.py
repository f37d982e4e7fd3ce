r"""A report as LaTeX: sections to \input into a paper that loads booktabs and graphicx."""

import re
from collections.abc import Iterator, Sequence
from textwrap import wrap

from analysis.answer import RULE
from analysis.report.content import (
    Block,
    Code,
    Facts,
    Grid,
    Picture,
    Remark,
    Report,
    Section,
    parted,
)

HEAD = r"""% Written by transform-tuner: RUN.
% In the preamble: \usepackage{booktabs} \usepackage{graphicx}
% Figures are files beside this one: \graphicspath{{.../}} says where.
"""
LEVELS = {2: "section", 3: "subsection"}
SPECIAL = {
    **{letter: f"\\{letter}" for letter in "&%$#_{}"},
    **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"},
    **{"<": r"\textless{}", ">": r"\textgreater{}", '"': "''", "|": r"\textbar{}"},
    **{"≥": r"$\geq$", "≤": r"$\leq$", "×": r"$\times$", "±": r"$\pm$", "µ": r"$\mu$"},
    **{"→": r"$\to$", "−": r"$-$", "·": r"$\cdot$", "∞": r"$\infty$", "√": r"$\surd$"},
    **{"\u200b": "{}", "–": "--", "…": r"\ldots{}", "“": "``", "”": "''", "’": "'"},
}
DASHES = re.compile("-(?=-)")
LINE_LETTERS = 78  # of a command in footnotesize
SHELL = ("python ", "pip ", "git ", "transform-tuner ")
LAST_OF_LATIN = "\u017f"  # up to which LaTeX knows letters by itself
STACKED = r"\begin{tabular}[t]{@{}r@{}}"
# No wider than the text, and no packages but graphicx
FITTED = r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%"


def as_latex(report: Report) -> str:
    """Return the report as the text of a file."""
    lines = [HEAD.replace("RUN", report.name)]
    lines += [rf"\section{{{_plain(report.question)}}}", ""]
    lines += [rf"\textbf{{{_plain(report.reply)}.}} {_plain(report.sentence)}", ""]
    lines += [*_list([*report.reasons, RULE]), ""]
    for section in report.sections:
        lines += [rf"\{LEVELS[section.level]}{{{_plain(section.title)}}}", ""]
        lines += [*_references(section, report.name), ""]
        for block in section.blocks:
            lines += [*_lines(block, report.name), ""]
    return "\n".join(lines)


def _references(section: Section, run: str) -> Iterator[str]:
    """Name the tables and figures of a section, which LaTeX puts where there is room."""
    for block in section.blocks:
        match block:
            case Grid():
                yield rf"Table~\ref{{tab:{run}-{block.name}}}: {_plain(block.title)}."
            case Picture() if block.files:
                yield rf"Figure~\ref{{fig:{run}-{block.name}}}: {_plain(block.title)}."


def _lines(block: Block, run: str) -> Iterator[str]:
    match block:
        case Facts():
            yield r"\begin{description}"
            yield from (rf"\item[{_plain(name)}] {_plain(said)}" for name, said in block.pairs)
            yield r"\end{description}"
        case Grid():
            yield from _table(block, run)
        case Picture() if block.files:
            yield r"\begin{figure}[htbp]"
            yield r"\centering"
            yield rf"\includegraphics[width=\linewidth]{{{block.stem}.pdf}}"
            yield rf"\caption{{\textbf{{{_plain(block.title)}.}} {_plain(block.caption)}}}"
            yield rf"\label{{fig:{run}-{block.name}}}"
            yield r"\end{figure}"
        case Picture():
            yield rf"\textbf{{{_plain(block.title)}.}} {_plain(block.caption)}"
        case Code():
            yield r"{\footnotesize\begin{verbatim}"
            yield _ascii(_broken(block.lines.replace(r"\end{verbatim}", "")))
            yield r"\end{verbatim}}"
        case Remark():
            yield _plain(block.text)


def _table(grid: Grid, run: str) -> Iterator[str]:
    yield r"\begin{table}[htbp]"
    yield r"\centering"
    yield rf"\caption{{\textbf{{{_plain(grid.title)}.}} {_plain(' '.join(grid.remarks))}}}"
    yield rf"\label{{tab:{run}-{grid.name}}}"
    yield r"\par\smallskip"
    yield FITTED
    yield rf"\begin{{tabular}}{{l{'r' * (len(grid.heads) - 1)}}}"
    yield r"\toprule"
    yield _row(grid.heads)
    yield r"\midrule"
    yield from map(_row, grid.rows)
    yield r"\bottomrule"
    yield r"\end{tabular}}"
    yield r"\end{table}"


def _row(cells: Sequence[str]) -> str:
    return " & ".join(map(_cell, cells)) + r" \\"


def _cell(cell: str) -> str:
    """Return a cell, its interval below it."""
    value, interval = map(_plain, parted(cell))
    if interval:
        return rf"{STACKED}{value}\\{{\scriptsize {interval}}}\end{{tabular}}"
    return f"{{{value}}}"  # since a row that begins with a bracket would be an argument


def _list(sentences: Sequence[str]) -> list[str]:
    return [r"\begin{itemize}", *(rf"\item {_plain(one)}" for one in sentences), r"\end{itemize}"]


def _plain(text: str) -> str:
    """Return text in which no character means anything, and that LaTeX has letters for."""
    apart = DASHES.sub("-\u200b", " ".join(text.split()))  # which LaTeX would join: --out
    return "".join(map(_letter, apart))


def _broken(lines: str) -> str:
    """Break commands that are longer than a line, as a shell takes them."""
    return "\n".join(
        " \\\n    ".join(wrap(line, LINE_LETTERS, break_long_words=False, break_on_hyphens=False))
        if line.startswith(SHELL)
        else line
        for line in lines.splitlines()
    )


def _ascii(lines: str) -> str:
    """Return lines for `verbatim`, in which there are no commands for letters."""
    return lines.replace("→", "->").encode("ascii", "replace").decode()


def _letter(letter: str) -> str:
    return SPECIAL.get(letter) or (letter if letter <= LAST_OF_LATIN else "?")
