"""Which trial is best: the one definition that everything calls."""

import math
from collections.abc import Iterable

from analysis.tables import Row

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
