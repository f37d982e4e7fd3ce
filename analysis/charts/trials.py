"""Charts of trials: learning curves, and when each of them ran."""

from collections.abc import Iterable

import altair as alt
import numpy as np
import pandas as pd

from analysis.charts.measures import MEASURES, Measure
from analysis.charts.style import (
    HEIGHT,
    LONG_DASH,
    PALETTE,
    RULE,
    colour,
    counts,
    fractions,
    moments,
    moves,
    numbers,
    per,
    time_axis,
    value_axis,
    whole,
    words,
)
from analysis.wording import named

EPOCH = ["run", "trial", "series", "epoch", "train_loss", "validation_loss", "validation_accuracy"]
SPAN = ["run", "trial", "series", "ending", "epochs", "started_at", "ended_at", "host"]
SPLITS = ["validation", "training"]
COLOURS = {
    "max_epochs": "#0072B2",
    "early_stopping": "#2E9BD6",
    "asha": "#8c939d",
    "median": "#a08a5a",
    "diverged": "#B88000",
    "out_of_memory": "#C26A98",
    "error": "#D64545",
    "interrupted": "#8566C9",
    "running": "#009E73",
}
ENDINGS = alt.Scale(domain=[named(one) for one in COLOURS], range=list(COLOURS.values()))


def curves(
    epochs: pd.DataFrame,
    best: pd.DataFrame,
    *,
    measure: str = "loss",
    scale: str | None = None,
    over: str = "epoch",
    smoothing: float = 0.0,
    names: Iterable[str] = (),
) -> alt.LayerChart:
    """Draw validation loss by epoch; the best trials stand out, with their training loss dashed.

    A trial with one epoch is a point.

    Args:
        epochs: Rows of the epochs table, with a column `series`.
        best: Those that stand out, as `bests` returns them; of the loss `run` and `trial` are
            enough.
        measure: A key of MEASURES. Only the loss is known of the training images too.
        scale: `log` or `linear`; by default the measure's.
        over: `epoch`, or `time`: training and validation since the trial's first epoch.
        smoothing: Weight of what was before, from 0 to below 1: an exponential moving average,
            without the bias of its start.
        names: As `colour` takes them.
    """
    of = MEASURES[measure]
    scale = scale or of.scale
    x, shown = _by_time(epochs) if over == "time" else (_x(), epochs)
    kept = list(dict.fromkeys([*EPOCH, of.name, *(["sec"] if over == "time" else [])]))
    shown = _smoothed(shown[kept], [of.name, "train_loss"], smoothing)
    values = shown[of.name].astype(float)
    shown = shown[(values.abs() < np.inf) & ((values > 0) | (scale == "linear"))]
    series, detail = colour(shown.series, "Network", names=names), per("run", "trial")
    tooltip = [
        *words("run", "trial", "series"),
        *counts("epoch"),
        *fractions("validation_accuracy"),
        *numbers(*dict.fromkeys(["validation_loss", "train_loss", of.name])),
    ]
    y_scale, axis = value_axis(scale, shown[of.name])
    y = alt.Y(f"{of.name}:Q", scale=y_scale, title=of.title(best) if len(best) else "", axis=axis)
    lines = (
        alt.Chart(shown, height=HEIGHT)
        .mark_line(strokeWidth=1, opacity=0.5)
        .encode(x, y, series, detail=detail, tooltip=tooltip)
    )
    alone = shown[~shown.duplicated(["run", "trial"], keep=False)]
    points = (
        alt.Chart(alone)
        .mark_point(filled=True, size=40, opacity=0.85)
        .encode(x, alt.Y(f"{of.name}:Q"), series, tooltip=tooltip)
    )
    dash = alt.StrokeDash(
        "split:N",
        title="Best trials",
        scale=alt.Scale(domain=SPLITS, range=[[1, 0], [5, 4]]),
        legend=alt.Legend(orient="top", symbolStrokeColor=RULE, **LONG_DASH),
    )
    of_best = shown.merge(best[["run", "trial"]], on=["run", "trial"])
    stand_out = (
        _by_split(of_best, of, scale)
        .mark_line(strokeWidth=2.5)
        .encode(x, alt.Y("value:Q"), series, dash, detail=detail, tooltip=tooltip)
    )
    chart = lines + stand_out if alone.empty else lines + stand_out + points
    return moves(chart, legend="series", zoom="xy")


def training(
    epochs: pd.DataFrame,
    best_epoch: float | None,
    *,
    scale: str = "log",
    smoothing: float = 0.0,
) -> alt.LayerChart:
    """Draw training and validation loss of one trial, with a rule at the epoch that is kept.

    Args:
        epochs: The trial's rows of the epochs table.
        best_epoch: The epoch that is kept; None for none.
        scale: `log` or `linear`.
        smoothing: As `curves` takes it.
    """
    finite = np.isfinite(epochs.validation_loss) & np.isfinite(epochs.train_loss)
    shown = epochs.loc[finite, [name for name in EPOCH if name != "series"]]
    shown = _smoothed(shown, ["validation_loss", "train_loss"], smoothing)
    both = pd.concat([shown.validation_loss, shown.train_loss])
    y_scale, axis = value_axis(scale, both[both > 0] if scale == "log" else both)
    lines = (
        _by_split(shown, MEASURES["loss"], scale)
        .mark_line(strokeWidth=2, point=alt.OverlayMarkDef(size=40))
        .properties(height=HEIGHT)
        .encode(
            _x(),
            alt.Y("value:Q", scale=y_scale, title="Loss", axis=axis),
            alt.Color(
                "split:N", title=None, scale=alt.Scale(domain=SPLITS, range=PALETTE[: len(SPLITS)])
            ),
            tooltip=[
                *words("split"),
                *counts("epoch"),
                *numbers("value"),
                *fractions("validation_accuracy"),
            ],
        )
    )
    rule = (
        alt.Chart(pd.DataFrame({"epoch": [best_epoch]}).dropna())
        .mark_rule(strokeDash=[4, 4], color=RULE)
        .encode(alt.X("epoch:Q"))
    )
    return moves(lines + rule, legend="split", zoom="xy")


def timeline(trials: pd.DataFrame, now: pd.Timestamp) -> alt.Chart:
    """Draw when each trial ran and how it ended; a running one lasts until `now`.

    Times count from the start of the run's first trial.
    """
    first = trials.groupby("run").started_at.transform("min")
    until = trials.ended_at.fillna(now)
    rows = trials[SPAN].assign(
        start=(trials.started_at - first).dt.total_seconds(),
        end=(until - first).dt.total_seconds(),
        place=trials.trial,
    )
    shown = [ending for ending in ENDINGS.domain if ending in set(rows.ending)]
    chart = (
        alt.Chart(rows, height=HEIGHT)
        .mark_bar(cornerRadius=1)
        .encode(
            alt.X(
                "start:Q",
                axis=time_axis(rows.end.max(), "Since the start of the run"),
                scale=alt.Scale(nice=False, zero=True),
            ),
            alt.X2("end:Q"),
            alt.Y(
                "place:O",
                title="Trial",
                axis=alt.Axis(values=sorted(rows.place)[:: max(1, len(rows) // 10)], grid=False),
            ),
            alt.Color(
                "ending:N",
                title=None,
                scale=ENDINGS,
                legend=alt.Legend(values=shown, columns=2, labelLimit=300),
            ),
            tooltip=[
                *words("run", "trial", "series", "ending", "host"),
                *counts("epochs"),
                *moments("started_at", "ended_at"),
            ],
        )
    )
    return moves(chart, legend="ending")


def _x() -> alt.X:
    return alt.X("epoch:Q", axis=whole("Epoch"), scale=alt.Scale(nice=False, zero=False, padding=8))


def _by_time(epochs: pd.DataFrame) -> tuple[alt.X, pd.DataFrame]:
    """Return the axis of the time that a trial has trained, and epochs with it in `sec`."""
    epochs = epochs.sort_values(["run", "trial", "epoch"])
    each = epochs.train_sec + epochs.validation_sec
    timed = epochs.assign(sec=each.groupby([epochs.run, epochs.trial]).cumsum())
    axis = time_axis(timed.sec.max(), "Training and validation")
    return alt.X("sec:Q", axis=axis, scale=alt.Scale(nice=False, zero=True)), timed


def _smoothed(epochs: pd.DataFrame, columns: list[str], smoothing: float) -> pd.DataFrame:
    """Return epochs whose columns are exponential moving averages, each trial's its own."""
    if not smoothing:
        return epochs
    ordered = epochs.sort_values(["run", "trial", "epoch"]).reset_index(drop=True)
    by_trial = ordered.groupby(["run", "trial"])
    means = {
        name: by_trial[name].transform(lambda one: one.ewm(alpha=1 - smoothing).mean())
        for name in dict.fromkeys(columns)
    }
    return ordered.assign(**means)


def _by_split(epochs: pd.DataFrame, measure: Measure, scale: str) -> alt.Chart:
    """Fold epochs into one row per epoch and split, with what has a place on the axis in `value`.

    Of the training images only the loss is known.
    """
    also = ("train_loss",) if measure.name == "validation_loss" else ()
    return (
        alt.Chart(epochs)
        .transform_fold([measure.name, *also], ["split", "value"])
        .transform_calculate(
            split=f"datum.split == '{measure.name}' ? 'validation' : 'training'",
        )
        .transform_filter("datum.value > 0" if scale == "log" else "isValid(datum.value)")
    )
