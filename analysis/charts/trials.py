"""Charts of trials: learning curves, and when each of them ran."""

import altair as alt
import numpy as np
import pandas as pd

from analysis.charts.style import (
    HEIGHT,
    RULE,
    colour,
    counts,
    fractions,
    height_with,
    log_axis,
    log_scale,
    moments,
    numbers,
    per,
    whole,
    words,
)

EPOCH = ["run", "trial", "series", "epoch", "train_loss", "validation_loss", "validation_accuracy"]
SPAN = ["run", "trial", "series", "ending", "epochs", "started_at", "ended_at", "host"]
SPLITS = ["validation", "training"]
COLOURS = {
    "max_epochs": "#0072B2",
    "early_stopping": "#56B4E9",
    "asha": "#b8bec8",
    "median": "#c8b48c",
    "diverged": "#E69F00",
    "out_of_memory": "#CC79A7",
    "error": "#D55E00",
    "interrupted": "#6b7280",
    "running": "#009E73",
}
ENDINGS = alt.Scale(domain=list(COLOURS), range=list(COLOURS.values()))


def curves(epochs: pd.DataFrame, best: pd.DataFrame) -> alt.LayerChart:
    """Draw validation loss by epoch; the best trials stand out, with their training loss dashed.

    Args:
        epochs: Rows of the epochs table, with a column `series`.
        best: `run` and `trial` of those that stand out.
    """
    shown = epochs.loc[np.isfinite(epochs.validation_loss) & (epochs.validation_loss > 0), EPOCH]
    x, series, detail = _x(), colour(shown.series, "Network"), per("run", "trial")
    tooltip = [
        *words("run", "trial", "series"),
        *counts("epoch"),
        *fractions("validation_accuracy"),
        *numbers("validation_loss", "train_loss"),
    ]
    every = (
        alt.Chart(shown, height=height_with(shown.series, HEIGHT + 30))
        .mark_line(strokeWidth=1, opacity=0.25)
        .encode(
            x,
            _y("validation_loss", "Validation loss", shown.validation_loss),
            series,
            detail=detail,
            tooltip=tooltip,
        )
    )
    dash = alt.StrokeDash(
        "split:N",
        title="Best trials",
        scale=alt.Scale(domain=SPLITS, range=[[1, 0], [5, 4]]),
        legend=alt.Legend(orient="top", symbolStrokeColor=RULE),
    )
    best_epochs = shown.merge(best[["run", "trial"]], on=["run", "trial"])
    lines = _by_split(best_epochs).mark_line(strokeWidth=2.5)
    return every + lines.encode(x, alt.Y("loss:Q"), series, dash, detail=detail, tooltip=tooltip)


def training(epochs: pd.DataFrame, best_epoch: float | None) -> alt.LayerChart:
    """Draw training and validation loss of one trial, with a rule at the epoch that is kept."""
    finite = np.isfinite(epochs.validation_loss) & np.isfinite(epochs.train_loss)
    shown = epochs.loc[finite, [name for name in EPOCH if name != "series"]]
    both = pd.concat([shown.validation_loss, shown.train_loss])
    lines = (
        _by_split(shown)
        .mark_line(strokeWidth=2, point=alt.OverlayMarkDef(size=30))
        .properties(height=HEIGHT)
        .encode(
            _x(),
            _y("loss", "Loss", both[both > 0]),
            alt.Color(
                "split:N", title=None, scale=alt.Scale(domain=SPLITS, range=["#0072B2", "#D55E00"])
            ),
            tooltip=[
                *words("split"),
                *counts("epoch"),
                *numbers("loss"),
                *fractions("validation_accuracy"),
            ],
        )
    )
    return (
        alt.Chart(pd.DataFrame({"epoch": [best_epoch]}).dropna())
        .mark_rule(strokeDash=[4, 4], color=RULE)
        .encode(alt.X("epoch:Q"))
        + lines
    )


def timeline(trials: pd.DataFrame, now: pd.Timestamp) -> alt.Chart:
    """Draw when each trial ran and how it ended; a running one lasts until `now`."""
    rows = trials[SPAN].assign(until=trials.ended_at.fillna(now), place=trials.trial)
    return (
        alt.Chart(rows, height=HEIGHT)
        .mark_bar(cornerRadius=1)
        .encode(
            alt.X("started_at:T", title=None),
            alt.X2("until:T"),
            alt.Y(
                "place:O",
                title="Trial",
                axis=alt.Axis(values=sorted(rows.place)[:: max(1, len(rows) // 10)], grid=False),
            ),
            alt.Color(
                "ending:N",
                title="Ended by",
                scale=ENDINGS,
                legend=alt.Legend(values=sorted(set(rows.ending))),
            ),
            tooltip=[
                *words("run", "trial", "series", "ending", "host"),
                *counts("epochs"),
                *moments("started_at", "ended_at"),
            ],
        )
    )


def _x() -> alt.X:
    return alt.X("epoch:Q", axis=whole("Epoch"))


def _y(column: str, title: str, losses: pd.Series) -> alt.Y:
    return alt.Y(f"{column}:Q", scale=log_scale(), title=title, axis=log_axis(losses))


def _by_split(epochs: pd.DataFrame) -> alt.Chart:
    """Fold epochs into one row per epoch and split, with its loss above 0 in `loss`."""
    return (
        alt.Chart(epochs)
        .transform_fold(["validation_loss", "train_loss"], ["split", "loss"])
        .transform_calculate(
            split="datum.split == 'validation_loss' ? 'validation' : 'training'",
        )
        .transform_filter("datum.loss > 0")
    )
