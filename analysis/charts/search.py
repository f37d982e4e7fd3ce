"""Charts of a search: history, runs side by side, and what each hyperparameter does to the loss."""

import altair as alt
import numpy as np
import pandas as pd

from analysis.charts.style import (
    HEIGHT,
    RULE,
    colour,
    colours,
    counts,
    fractions,
    height_with,
    log_axis,
    log_scale,
    logarithmic_ends,
    numbers,
    per,
    round_marks,
    whole,
    words,
)
from trainables.hyperparameters import HYPERPARAMETERS

LOSS = "best_validation_loss"
LABELS = {name: parameter.label for name, parameter in HYPERPARAMETERS.items()}
LOGARITHMIC = {LOSS, *(name for name, parameter in HYPERPARAMETERS.items() if parameter.log)}
STATES = alt.Scale(
    domain=["finished", "ASHA", "failed", "interrupted", "running"],
    range=["circle", "cross", "triangle-down", "square", "diamond"],
)
STATE = alt.Shape("state:N", scale=STATES, title=None, legend=alt.Legend(orient="top", columns=3))
COLUMNS = [
    *("run", "trial", "series", "state", "ending", "epochs", "best_validation_accuracy"),
    *(LOSS, *HYPERPARAMETERS),
]
TOOLTIP = [
    *words("run", "trial", "series", "ending"),
    *counts("epochs"),
    *fractions("best_validation_accuracy"),
    *numbers(LOSS, *HYPERPARAMETERS),
]


def history(trials: pd.DataFrame, best: pd.DataFrame) -> alt.LayerChart:
    """Draw every trial's lowest loss in the order of the trials.

    Args:
        trials: As `labelled` returns them.
        best: As `best_so_far` returns it: the steps of each run.
    """
    shown = trials.loc[trials[LOSS] > 0, COLUMNS]
    series = colour(shown.series, "Network")
    x = alt.X("trial:Q", axis=whole("Trial"))
    points = (
        alt.Chart(shown, height=height_with(shown.series, HEIGHT + 50))
        .mark_point(filled=True, size=46, opacity=0.55)
        .encode(
            x,
            alt.Y(
                f"{LOSS}:Q", scale=log_scale(), title="Validation loss", axis=log_axis(shown[LOSS])
            ),
            series,
            STATE,
            tooltip=TOOLTIP,
        )
    )
    steps = best[best.best > 0]
    return points + alt.Chart(steps).mark_line(interpolate="step-after", strokeWidth=2.5).encode(
        x, alt.Y("best:Q"), series, detail=per("run", "series")
    )


def compare(best: pd.DataFrame) -> alt.Chart:
    """Draw the best loss so far of each run, by the number of its trials.

    Args:
        best: As `best_so_far` returns it, with a `label` for each run.
    """
    best = best[best.best > 0]
    return (
        alt.Chart(best, height=height_with(best.label))
        .mark_line(interpolate="step-after", strokeWidth=2.5)
        .encode(
            alt.X("trial:Q", axis=whole("Trial")),
            alt.Y(
                "best:Q",
                scale=log_scale(),
                title="Best validation loss so far",
                axis=log_axis(best.best),
            ),
            colour(best.label, "Run", "label"),
            detail=per("run", "series"),
            tooltip=[*words("label", "series"), *counts("trial"), *numbers("best")],
        )
    )


def slices(trials: pd.DataFrame, name: str) -> alt.Chart:
    """Draw every trial's lowest loss against the hyperparameter `name`."""
    shown = trials.loc[(trials[LOSS] > 0) & trials[name].notna(), COLUMNS]
    scale, axis = alt.Scale(zero=False, padding=8), whole(LABELS[name])
    if name in LOGARITHMIC:
        scale, axis = log_scale(), log_axis(shown[name])
    elif HYPERPARAMETERS[name].kind is float:
        axis = alt.Axis(grid=False, format=".2~f", tickCount=5)
    return (
        alt.Chart(shown, height=240)
        .mark_point(filled=True, size=36, opacity=0.6)
        .encode(
            alt.X(f"{name}:Q", scale=scale, axis=axis, title=LABELS[name]),
            alt.Y(
                f"{LOSS}:Q", scale=log_scale(), title="Validation loss", axis=log_axis(shown[LOSS])
            ),
            alt.Color("series:N", scale=colours(shown.series), legend=None),
            alt.Shape("state:N", scale=STATES, legend=None),
            tooltip=TOOLTIP,
        )
    )


def importance(found: pd.DataFrame) -> alt.Chart:
    """Draw how much of the variance of the loss each hyperparameter explains, per network.

    Args:
        found: As `importances` returns it.
    """
    return (
        alt.Chart(found.assign(name=found.parameter.map(LABELS)), height=height_with(found.series))
        .mark_bar(cornerRadiusEnd=3, height={"band": 0.7})
        .encode(
            alt.X(
                "importance:Q",
                title="Share of the variance",
                axis=alt.Axis(format="%"),
                scale=alt.Scale(domain=[0, 1]),
            ),
            alt.Y("name:N", sort=list(LABELS.values()), title=None),
            colour(found.series, None),
            yOffset=alt.YOffset("series:N"),
            tooltip=[*words("series", "name"), *fractions("importance"), *counts("trials")],
        )
    )


def parallel(trials: pd.DataFrame) -> alt.LayerChart:
    """Draw hyperparameters on parallel axes, one line a trial, the darker the lower its loss.

    The line that the pointer is on stands out.
    """
    logarithmic_ends(trials[LOSS])
    rows, ticks = _axes(trials.loc[trials[LOSS] > 0, COLUMNS])
    x = alt.X(
        "axis:N",
        sort=None,
        title=None,
        scale=alt.Scale(padding=0.4 if trials.series.nunique() > 1 else 0.2),
        axis=alt.Axis(
            orient="top",
            labelAngle=0,
            domain=False,
            ticks=False,
            labelFontWeight="bold",
            labelPadding=14,
            labelOverlap=False,
        ),
    )
    y = alt.Y("place:Q", axis=None, scale=alt.Scale(domain=[-0.02, 1.02], nice=False))
    hover = alt.selection_point(
        fields=["run", "trial"], on="pointerover", clear="pointerout", empty=False
    )
    lines = (
        alt.Chart(rows, height=HEIGHT)
        .mark_line(strokeJoin="round")
        .encode(
            x,
            y,
            alt.Color(
                "rank:Q",
                title="Rank by loss",
                scale=alt.Scale(scheme="viridis", domain=[0, 1]),
                legend=alt.Legend(
                    format="%", gradientLength=140, tickCount=3, direction="horizontal"
                ),
            ),
            detail=per("run", "trial"),
            opacity=alt.condition(hover, alt.value(1), alt.value(0.55)),
            strokeWidth=alt.condition(hover, alt.value(4), alt.value(1.5)),
            order=alt.Order("rank:Q", sort="descending"),
            tooltip=TOOLTIP,
        )
        .add_params(hover)
    )
    bars = (
        alt.Chart(rows)
        .mark_rule(color=RULE)
        .encode(x, alt.Y("min(place):Q", axis=None), alt.Y2("max(place):Q"))
    )
    halo = (
        alt.Chart(ticks)
        .mark_text(align="right", dx=-6, fontSize=11, stroke="white", strokeWidth=4)
        .encode(x, y, text=alt.Text("label:N"))
    )
    return lines + bars + halo + halo.mark_text(align="right", dx=-6, fontSize=11, color="#2f2d2b")


def _axes(trials: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return one row per trial and axis with its `place` from 0 to 1, and the axes' labels."""
    names = sorted(trials.series.unique())
    trials = trials.assign(
        network=trials.series.map(names.index), rank=trials.groupby("series")[LOSS].rank(pct=True)
    )
    titles = {"network": "Network"} if len(names) > 1 else {}
    titles |= {name: label for name, label in LABELS.items() if trials[name].notna().any()}
    rows, ticks = [], []
    for name, title in {**titles, LOSS: "Validation loss"}.items():
        values, log = trials[name].astype(float), name in LOGARITHMIC
        low, high = values.min(), values.max()
        marks = round_marks(low, high, log) if name != "network" else dict(enumerate(names))
        scaled = np.log10 if log else np.asarray
        start, span = scaled(low), (scaled(high) - scaled(low)) or 1.0
        rows.append(
            trials.assign(axis=title, place=(scaled(values) - start) / span).dropna(subset="place")
        )
        ticks += [(title, (scaled(mark) - start) / span, label) for mark, label in marks.items()]
    return pd.concat(rows), pd.DataFrame(ticks, columns=["axis", "place", "label"])
