"""Charts of trials: learning curves, and when each of them ran."""

import altair as alt
import numpy as np
import pandas as pd

from analysis.charts.style import (
    HEIGHT,
    RULE,
    colour,
    counts,
    height_with,
    log_axis,
    log_scale,
    moments,
    numbers,
    per,
    shares,
    whole,
    words,
)

EPOCH = ["run", "trial", "series", "epoch", "train_loss", "validation_loss", "validation_accuracy"]
SPAN = ["run", "trial", "series", "ending", "epochs", "started_at", "ended_at", "host"]
SPLITS = alt.Scale(domain=["validation", "training"], range=[[1, 0], [5, 4]])
ENDINGS = alt.Scale(
    domain=[
        "max_epochs",
        "early_stopping",
        "asha",
        "diverged",
        "out_of_memory",
        "error",
        "interrupted",
        "running",
    ],
    range=["#0072B2", "#56B4E9", "#b8bec8", "#E69F00", "#CC79A7", "#D55E00", "#6b7280", "#009E73"],
)


def curves(epochs: pd.DataFrame, best: pd.DataFrame) -> alt.LayerChart:
    """Validation loss by epoch; the `best` trial of each network stands out, its training loss dashed.

    `epochs` has a column `series`; `best` has `run` and `trial`.
    """
    shown = epochs.loc[np.isfinite(epochs.validation_loss) & (epochs.validation_loss > 0), EPOCH]
    x, y = _x(), _y("validation_loss", "Validation loss", shown.validation_loss)
    series = colour(shown.series, "Network")
    tooltip = [*words("run", "trial", "series"), *counts("epoch"), *shares("validation_accuracy")]
    tooltip += numbers("validation_loss", "train_loss")
    every = alt.Chart(shown, height=height_with(shown.series, HEIGHT + 30)).mark_line(
        strokeWidth=1, opacity=0.25
    )
    every = every.encode(x, y, series, detail=per("run", "trial"), tooltip=tooltip)
    standing_out = shown.merge(best[["run", "trial"]], on=["run", "trial"])
    lines = _by_split(standing_out).mark_line(strokeWidth=2.5)
    legend = alt.Legend(orient="top", symbolStrokeColor=RULE)
    dash = alt.StrokeDash("split:N", title="Best trials", scale=SPLITS, legend=legend)
    return every + lines.encode(
        x, alt.Y("loss:Q"), series, dash, detail=per("run", "trial"), tooltip=tooltip
    )


def training(epochs: pd.DataFrame, best_epoch: float | None) -> alt.LayerChart:
    """Training and validation loss of one trial; the rule marks the epoch whose weights are kept."""
    finite = np.isfinite(epochs.validation_loss) & np.isfinite(epochs.train_loss)
    shown = epochs.loc[finite, [name for name in EPOCH if name != "series"]]
    both = pd.concat([shown.validation_loss, shown.train_loss])
    lines = _by_split(shown).mark_line(strokeWidth=2, point=alt.OverlayMarkDef(size=30))
    lines = lines.properties(height=HEIGHT).encode(
        _x(),
        _y("loss", "Loss", both[both > 0]),
        alt.Color(
            "split:N",
            title=None,
            scale=alt.Scale(domain=SPLITS.domain, range=["#0072B2", "#D55E00"]),
        ),
        tooltip=[
            *words("split"),
            *counts("epoch"),
            *numbers("loss"),
            *shares("validation_accuracy"),
        ],
    )
    marked = pd.DataFrame(
        {"epoch": [] if best_epoch is None or pd.isna(best_epoch) else [best_epoch]}
    )
    rule = alt.Chart(marked).mark_rule(strokeDash=[4, 4], color=RULE).encode(alt.X("epoch:Q"))
    return rule + lines


def timeline(trials: pd.DataFrame, now: pd.Timestamp) -> alt.Chart:
    """When each trial ran and how it ended; a running one lasts until `now`."""
    rows = trials[SPAN].assign(until=trials.ended_at.fillna(now), place=trials.trial)
    step = max(1, len(rows) // 10)
    bars = alt.Chart(rows, height=HEIGHT).mark_bar(cornerRadius=1)
    return bars.encode(
        alt.X("started_at:T", title=None),
        alt.Y(
            "place:O", title="Trial", axis=alt.Axis(values=sorted(rows.place)[::step], grid=False)
        ),
        alt.Color(
            "ending:N",
            scale=ENDINGS,
            title="Ended by",
            legend=alt.Legend(values=sorted(set(rows.ending))),
        ),
        alt.X2("until:T"),
        tooltip=[
            *words("run", "trial", "series", "ending", "host"),
            *counts("epochs"),
            *moments("started_at", "ended_at"),
        ],
    )


def _x() -> alt.X:
    return alt.X("epoch:Q", axis=whole("Epoch"))


def _y(column: str, title: str, losses: pd.Series) -> alt.Y:
    return alt.Y(f"{column}:Q", scale=log_scale(), title=title, axis=log_axis(losses))


def _by_split(epochs: pd.DataFrame) -> alt.Chart:
    """One row per epoch and split, with its loss above 0 in `loss`."""
    folded = alt.Chart(epochs).transform_fold(["validation_loss", "train_loss"], ["split", "loss"])
    named = folded.transform_calculate(
        split="datum.split == 'validation_loss' ? 'validation' : 'training'"
    )
    return named.transform_filter("datum.loss > 0")
