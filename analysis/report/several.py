"""The report of several runs: the atlas of them, as a table and a figure."""

from collections.abc import Sequence
from functools import partial

import pandas as pd

from analysis.answer import CLOSELY, EXACTLY, IN_A_WORD, ROUGHLY
from analysis.atlas.cells import as_texts
from analysis.charts.atlas import grades
from analysis.console import command_text
from analysis.report.content import ATLAS, Code, Grid, Picture, Report, Section
from analysis.report.figures import Figure
from analysis.wording import count

GRADES = (EXACTLY, CLOSELY, ROUGHLY)
"""From the best; a pipeline without any of them is not replaced."""
REMARKS = (
    "A row is the best network of its kind for a pipeline; of several runs the one with the "
    "highest mean validation cosine, so that test images choose nothing.",
    "In brackets are 95 % intervals. The floor is the best of those that cost nothing, in each "
    "score by itself.",
    "A speed has a number only where its verdict is valid or rough.",
)


def figure(cells: pd.DataFrame) -> Figure:
    """Return the figure of an atlas, to be drawn.

    Args:
        cells: As `analysis.atlas.cells.best_of` returns them.
    """
    caption = (
        "Each pipeline by each network: share of the test images at cosine ≥ 0.99, and mean PSNR. "
        "Grey is where an output that costs nothing is as good. An empty place is a network that "
        "does not fit, or that these runs have not trained."
    )
    return Figure(ATLAS, "grades", partial(grades, cells), "Which networks replace what", caption)


def report(
    storage: str,
    runs: Sequence[str],
    cells: pd.DataFrame,
    pictures: Sequence[Picture],
    again: str,
) -> Report:
    """Return the report of several runs.

    Args:
        storage: The storage as it was typed, for the commands in it.
        runs: Their names.
        cells: Their atlas.
        pictures: The figure of it.
        again: What to type to get it again.
    """
    heads, *rows = as_texts(cells)
    table = Grid("cells", "Pipelines and networks", heads, rows, REMARKS)
    grades_found = _counts(cells)
    total = cells.task.nunique()
    replaced = sum(grades_found.values())
    parts = (*grades_found.items(), ("not", total - replaced))
    each = "\n".join(command_text("analysis.report", run, storage=storage) for run in runs)
    return Report(
        name=ATLAS,
        question=f"Which of {count(total, 'pipeline')} can a small network replace?",
        reply=f"{replaced} of {total}",
        sentence=f"{', '.join(f'{amount} {word}' for word, amount in parts)}.",
        reasons=_reasons(runs, cells),
        sections=[
            Section("The atlas", [*pictures, table]),
            Section("Each run by itself", [Code(each)]),
            Section("Do it again", [Code(again)]),
        ],
    )


def _reasons(runs: Sequence[str], cells: pd.DataFrame) -> list[str]:
    """Return what the answer rests on, and which runs have no part in it."""
    told = [f"{count(len(cells), 'network')} of {count(len(runs), 'run')}."]
    left_out = [run for run in runs if run not in set(cells.run)]
    if left_out:
        told.append(
            f"Without a place in it, having no scores of test images or worse ones than another "
            f"run of the same: {', '.join(left_out)}."
        )
    return told


def _counts(cells: pd.DataFrame) -> dict[str, int]:
    """Return how many pipelines have each of GRADES as the best of their networks."""
    words = [IN_A_WORD[grade] for grade in GRADES]
    places = cells.answer.map({word: place for place, word in enumerate(words)})
    best = places.groupby(cells.task, observed=True).min()
    return {grade: int((best == place).sum()) for place, grade in enumerate(GRADES)}
