"""The columns of a table of trials, and the key figures of one."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from analysis.charts.labels import accuracy_label, score_label
from analysis.dashboard.address import Address
from analysis.dashboard.blocks import Column, KeyFigure, number
from trainables.hyperparameters import Parameter, label, plain_text, text
from trainables.thresholds import percent


def columns(trials: pd.DataFrame, space: Mapping[str, Parameter], address: Address) -> list[Column]:
    """Return the columns of a table of trials; each row leads to its trial.

    Args:
        trials: As `labels.labelled` returns them.
        space: What their hyperparameters may be.
        address: Of the page that shows the table.
    """

    def to_trial(row: Any) -> str:
        return address.to_trial(row["run"], row["trial"])

    found = [
        Column("trial", "Trial", str, link=to_trial, is_number=True),
        Column("run", "Run", str, link=lambda row: address.to_run(row["run"])),
        Column("series", "Network"),
        Column("ending", "Ended by"),
        number("best_validation_loss", "Loss", "#.3g", help="validation images, best epoch"),
    ]
    if head := score_label(trials):
        told = "what its run ranks by, at the best epoch"
        found.append(number("best_validation_score", head, ".4g", help=told))
    found += [
        number(
            "best_validation_accuracy",
            accuracy_label(trials),
            percent,
            help="validation images, best epoch",
            bar=True,
        ),
        number("best_validation_cosine", "Mean cosine", ".4f", help="the same images and epoch"),
        number("best_epoch", "Best epoch", ".0f"),
        *(_column(name, one) for name, one in space.items()),
        number("epochs", "Epochs", ",d"),
        number("train_sec", "Training, s", ".1f"),
        number("images_per_sec", "Images/s", ",.0f"),
        number("peak_mib", "Peak MiB", ",.0f"),
        Column("started_at", "Started", lambda at: f"{at:%b %d, %H:%M}"),
    ]
    if trials.threshold.nunique() > 1:
        told = "of its run, for the cosine similarity"
        found.append(number("threshold", "Threshold", "g", help=told))
    return found


def _column(name: str, parameter: Parameter) -> Column:
    if not parameter.is_numeric:
        return Column(name, label(name), plain_text)
    kind = parameter.kind or float
    return number(name, label(name), lambda value: text(name, kind(value)))


def score_figure(trial: pd.Series, note: str) -> list[KeyFigure]:
    """Return the metric that a trial's run ranks by as a key figure; none where it is no metric."""
    if pd.isna(trial.best_validation_score):
        return []
    return [KeyFigure(f"Mean {trial.rank_by}", f"{trial.best_validation_score:.4g}", note)]
