"""The scores table as its readers ask for it: one metric of all subjects, all metrics of one.

scores = read(Path("results/tables"), "scores")
scores_at(scores, "cosine", 0.95)  # the fraction of the images at cosine ≥ 0.95, a row a subject
scores_at(scores, "psnr")  # its mean over the images
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from analysis.tables.files import Row

if TYPE_CHECKING:
    import pandas as pd

Scores = dict[tuple[str, float | None], Row]
"""Rows of one subject by metric and threshold, None for the metric's mean over the images."""


def scores_at(
    scores: "pd.DataFrame", metric: str, threshold: float | None = None
) -> "pd.DataFrame":
    """Return the rows of one metric, one for each subject.

    Args:
        scores: Rows of the table, of any number of runs.
        metric: Its name.
        threshold: What images have to reach; None for the mean over them.
    """
    at = scores.threshold.isna() if threshold is None else scores.threshold == threshold
    return scores[(scores.metric == metric) & at]


def by_subject(scores: Iterable[Row]) -> list[Scores]:
    """Return what each subject of a run scored on the test images, without repeats of finalists."""
    found: dict[str, Scores] = {}
    for row in scores:
        if row["repeat_of"] is None and row["split"] == "test":
            found.setdefault(row["subject"], {})[row["metric"], row["threshold"]] = row
    return list(found.values())
