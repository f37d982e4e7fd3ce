"""A report as Markdown and as LaTeX: tables and figures that other texts include."""

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from analysis.report.as_latex import as_latex
from analysis.report.as_markdown import as_markdown
from analysis.report.content import Code, Facts, Grid, Picture, Remark, Report, Section
from tests.analysis.report.made_reports import make_wide_run, write_report

SPECIAL = r"-- \ & % $ # _ { } ~ ^ < > | * ` [ ] ≥ × µ ± – … → − ü 中"
GRID = Grid("accuracy", "How exactly", ["", "at ≥ 0.95"], [["trial_0", "9 % [8, 10]"]], ["n = 5."])
PARTS = [
    Facts([("Data", "a_b")]),
    GRID,
    Picture("loss", "r-loss", "Loss", "Of trial 0.", {"pdf": b"", "svg": b"", "png": b""}),
    Picture("curves", "r-curves", "Curves", "Left out: no value.", {}),
    Code("f(images)  # (N, 3) → (N, 1)"),
    Remark(SPECIAL),
]
REPORT = Report(
    name="r",
    question="Can fc replace blur_it?",
    reply="Yes, roughly",
    sentence="fc replaces blur_it; 2 × as fast.",
    reasons=["a."],
    sections=[Section("Parts", PARTS), Section("More", [Remark("x")], level=3)],
)
COMMAND = re.compile(r"\\([A-Za-z]+|.)")
# What LaTeX itself, booktabs and graphicx have
SPECIAL_BY_BACKSLASH = "&%$#_{}\\"
KNOWN = (
    "section subsection textbf item begin end toprule midrule bottomrule centering caption label "
    "includegraphics linewidth resizebox ifdim width else fi usepackage graphicspath "
    "textbackslash textasciitilde textasciicircum textless textgreater textbar ldots "
    "geq leq times pm mu to cdot infty surd ref footnotesize scriptsize par smallskip"
)


def test_markdown_has_tables_image_links_and_lists() -> None:
    text = as_markdown(REPORT)
    for part in (
        "# Can fc replace blur\\_it?\n\n**Yes, roughly.** fc replaces blur\\_it; 2 × as fast.\n",
        "## Parts\n\n- **Data:** a\\_b\n",
        "|  | at ≥ 0.95 |\n| --- | ---: |\n| trial\\_0 | 9 % \\[8, 10\\] |\n\n- n = 5.",
        "![Loss](<r-loss.svg>)\n\n**Loss.** Of trial 0.",
        "**Curves.** Left out: no value.",
        "```\nf(images)  # (N, 3) → (N, 1)\n```",
        "### More\n\nx\n",
    ):
        assert part in text, part


def test_no_character_means_anything_in_markdown() -> None:
    (line,) = [line for line in as_markdown(REPORT).splitlines() if "中" in line]
    assert re.sub(r"\\(.)", r"\1", line) == SPECIAL
    assert not re.search(r"(?<!\\)[*_`|<>#{}\[\]~$]", line.replace("\\\\", ""))


def test_latex_has_tables_with_rules_and_figures_with_labels() -> None:
    text = as_latex(REPORT)
    for part in (
        "\\section{Can fc replace blur\\_it?}\n\n\\textbf{Yes, roughly.} fc replaces blur\\_it; ",
        "\\item[Data] a\\_b",
        "\\caption{\\textbf{How exactly.} n = 5.}\n\\label{tab:r-accuracy}",
        "\\begin{tabular}{lr}\n\\toprule\n{} & {at $\\geq$ 0.95} \\\\\n\\midrule\n"
        "{trial\\_0} & \\begin{tabular}[t]{@{}r@{}}9 \\%\\\\{\\scriptsize [8, 10]}\\end{tabular} "
        "\\\\\n\\bottomrule\n\\end{tabular}}",
        "\\includegraphics[width=\\linewidth]{r-loss.pdf}\n",
        "\\label{fig:r-loss}",
        "\\textbf{Curves.} Left out: no value.",
        "{\\footnotesize\\begin{verbatim}\nf(images)  # (N, 3) -> (N, 1)\n\\end{verbatim}}",
        "Table~\\ref{tab:r-accuracy}: How exactly.\nFigure~\\ref{fig:r-loss}: Loss.\n",
        "\\subsection{More}",
    ):
        assert part in text, part
    assert "r-curves.pdf" not in text


def test_no_character_means_anything_in_latex() -> None:
    (line,) = [line for line in as_latex(REPORT).splitlines() if "geq$ $" in line]
    assert line == (
        r"-{}- \textbackslash{} \& \% \$ \# \_ \{ \} \textasciitilde{} \textasciicircum{} "
        r"\textless{} \textgreater{} \textbar{} * ` [ ] $\geq$ $\times$ $\mu$ $\pm$ -- \ldots{} "
        r"$\to$ $-$ ü ?"
    )


@pytest.fixture(scope="module")
def latex(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The LaTeX of a run with all that a report can have."""
    storage = tmp_path_factory.mktemp("storage")
    make_wide_run(storage)
    return write_report(storage, "wide", "tex")


def test_the_latex_of_a_run_asks_for_booktabs_and_graphicx_alone(latex: Path) -> None:
    text = re.sub(r"\\begin{verbatim}.*?\\end{verbatim}", "", latex.read_text(), flags=re.DOTALL)
    assert set(COMMAND.findall(text)) <= {*KNOWN.split(), *SPECIAL_BY_BACKSLASH}
    opened, closed = (re.findall(rf"\\{word}{{(\w+)}}", text) for word in ("begin", "end"))
    assert sorted(opened) == sorted(closed)
    plain = re.sub(r"\\.", "", text)
    assert plain.count("{") == plain.count("}")
    for columns, body in re.findall(r"begin{tabular}{(\w+)}(.*?)\\bottomrule", text, re.DOTALL):
        rows = [row for row in re.sub(r"\\&", "", body).split("\\\\\n") if "&" in row]
        assert {row.count("&") for row in rows} == {len(columns) - 1}
    figures = re.findall(r"includegraphics\[[^]]*\]{([^}]+)}", text)
    assert len(figures) >= 8
    assert all((latex.parent / figure).exists() for figure in figures)


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex")
def test_latex_is_set_by_latex(tmp_path: Path) -> None:
    parts = [part for part in PARTS if not (isinstance(part, Picture) and part.files)]
    (tmp_path / "report.tex").write_text(
        as_latex(replace(REPORT, sections=[Section("Parts", parts)]))
    )
    (tmp_path / "paper.tex").write_text(
        "\\documentclass{article}\\usepackage{booktabs}\\usepackage{graphicx}"
        "\\begin{document}\\input{report}\\end{document}"
    )
    command = ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", "paper"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout.decode(errors="replace")[-2000:]


def test_markdown_and_latex_name_the_figures_that_lie_beside_them(latex: Path) -> None:
    path = write_report(latex.parents[1], "wide", "md")
    text = path.read_text()
    links = re.findall(r"!\[[^]]*\]\(<([^>]+)>\)", text)
    assert len(links) >= 8
    assert all((path.parent / link).exists() for link in links)
    assert "half\\_&\\_blur" in text
    assert "half\\_\\&\\_blur" in latex.read_text()
