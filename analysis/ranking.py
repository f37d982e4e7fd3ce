"""Which trial is best: the one definition that everything calls, for rows and for a data frame of them."""

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

from analysis.tables import Row

if TYPE_CHECKING:
    import pandas as pd

NEVER_BEST = frozenset({"diverged", "out_of_memory", "error"})


def ranked(trials: Iterable[Row]) -> list[Row]:
    """Rows of the trials table from best to worst: by the lowest validation loss at any epoch.

    Ties go to the earlier trial. Left out are trials that diverged or failed, that have no finished epoch,
    and repeats of finalists with other seeds.
    """
    candidates = [
        row
        for row in trials
        if row["stop_reason"] not in NEVER_BEST
        and row["confirms"] is None
        and row["best_validation_loss"] is not None
        and math.isfinite(row["best_validation_loss"])
    ]
    return sorted(candidates, key=lambda row: (row["best_validation_loss"], row["trial"]))


def ranked_frame(trials: "pd.DataFrame") -> "pd.DataFrame":
    """`ranked` for a data frame of the trials table, of any number of runs; ties go to the earlier row's run."""
    finite = trials.best_validation_loss.astype(float).abs() < math.inf  # false for nulls too
    candidates = trials[finite & trials.confirms.isna() & ~trials.stop_reason.isin(NEVER_BEST)]
    return candidates.sort_values(["best_validation_loss", "trial"], kind="stable")
