"""What trials are compared by in charts: the loss, or how close outputs are."""

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from analysis.charts.labels import accuracy_label, score_label


@dataclass(frozen=True)
class Measure:
    """A number of each epoch, and of each trial at its best epoch.

    Attributes:
        name: The column of epochs; that of trials begins with `best_`.
        log: Whether its axis is logarithmic unless the reader asks otherwise.
        shown_as: The format of its values, as d3 takes it.
        compares_by: Columns of `labelled` trials that are the same where values compare.
    """

    name: str
    log: bool = False
    shown_as: str = ".3~g"
    compares_by: tuple[str, ...] = ("data_name", "task_name")

    @property
    def of_trial(self) -> str:
        """The column of trials."""
        return f"best_{self.name}"

    @property
    def scale(self) -> str:
        """What its axis is unless the reader asks otherwise: `log` or `linear`."""
        return "log" if self.log else "linear"

    def title(self, trials: pd.DataFrame) -> str:
        """Name it for trials that `labelled` returned: `Validation loss`, `Cosine ≥ 0.95`."""
        if self.name == "validation_accuracy":
            return accuracy_label(trials)
        if self.name == "validation_score":
            return score_label(trials) or "Score"
        return "Mean cosine" if self.name == "validation_cosine" else "Validation loss"

    def order(self, trials: pd.DataFrame) -> pd.Series:
        """Return what is lowest for the best of trials that `labelled` returned."""
        values = trials[self.of_trial].astype(float)
        if self.name == "validation_score":  # whether a high one is good, its run's rule knows
            return trials.objective.where(values.notna())
        return values if self.name == "validation_loss" else -values


LOSS = Measure("validation_loss", log=True, compares_by=("loss", "data_name", "task_name"))
MEASURES: Mapping[str, Measure] = {
    "loss": LOSS,
    "accuracy": Measure("validation_accuracy", shown_as=".2%"),
    "cosine": Measure("validation_cosine", shown_as=".5~g"),
    "score": Measure(
        "validation_score", shown_as=".4~g", compares_by=("rank_by", "data_name", "task_name")
    ),
}
"""By what a reader chooses."""


def panels(trials: pd.DataFrame, measure: str = "loss") -> dict[str, pd.DataFrame]:
    """Return the trials whose values compare, by what tells them apart from the others.

    Each is a chart of its own: one axis for losses of two kinds would compare them. The name is
    empty where all compare.

    Args:
        trials: As `labelled` returns them.
        measure: A key of MEASURES.
    """
    compared = [name for name in MEASURES[measure].compares_by if trials[name].nunique() > 1]
    if not compared:
        return {"": trials}
    return {
        ", ".join(map(str, key)): of_panel for key, of_panel in trials.groupby(compared, sort=True)
    }
