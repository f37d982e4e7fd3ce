"""What best means: of the epochs of a trial, and of the trials of a run. The one definition."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from trainables.thresholds import THRESHOLD

LOSS, COSINE = "loss", "cosine"
# All cosines together weigh less than one image of five million, and their differences still count
COSINE_STEP = 1e-7


@dataclass(frozen=True, kw_only=True)
class Goal:
    """What epochs and trials are ranked by.

    Attributes:
        rank_by: `loss`, `cosine`, or the name of a metric, as `--rank-by` takes it.
        higher_is_better: Which direction of that metric is good.
        threshold: Cosine similarity from which an output counts as equal.
    """

    rank_by: str = LOSS
    higher_is_better: bool = True
    threshold: float = THRESHOLD

    @property
    def has_score(self) -> bool:
        """Whether it is a metric beside those that every epoch has."""
        return self.rank_by not in (LOSS, COSINE)

    def between(self, mixed_losses: bool) -> "Goal":
        """Return what trials are ranked by: losses of several kinds do not compare."""
        by_cosine = mixed_losses and self.rank_by == LOSS
        return replace(self, rank_by=COSINE) if by_cosine else self

    def objective(self, values: Any, of: str = "") -> Any:
        """Return what is lowest for the best.

        It is the validation loss; or the negative cosine accuracy, and between equal ones the mean
        cosine; or the mean of the metric, negative where a high one is good.

        Args:
            values: A row of epochs, a row of trials, or a data frame of one of them.
            of: What the columns' names begin with: `best_` for trials.
        """
        if self.rank_by == LOSS:
            return values[f"{of}validation_loss"]
        if self.rank_by == COSINE:
            cosines = COSINE_STEP * values[f"{of}validation_cosine"]
            return -(values[f"{of}validation_accuracy"] + cosines)
        score = values[f"{of}validation_score"]
        return -score if self.higher_is_better else score

    def best_epoch(self, epochs: Iterable[Mapping[str, Any]]) -> Any:
        """Return the epoch of a trial whose weights are kept; ties go to the earlier one.

        It is None where none has finite losses and a finite objective.

        Args:
            epochs: Rows of the trial, in any order.
        """
        return min(
            (
                row
                for row in epochs
                if math.isfinite(row["validation_loss"])
                and math.isfinite(row["train_loss"])
                and math.isfinite(self.objective(row))
            ),
            key=lambda row: (self.objective(row), row["epoch"]),
            default=None,
        )


USUAL = Goal()
"""By the loss: what a run has unless it is asked for something else."""
