"""Charts of a search: its history, its runs side by side, and what each hyperparameter does to the loss."""

import altair as alt
import numpy as np
import pandas as pd

from analysis.charts.style import (
    HEIGHT,
    RULE,
    colour,
    colours,
    counts,
    height_with,
    log_axis,
    log_scale,
    numbers,
    per,
    round_marks,
    shares,
    whole,
    words,
)

LOSS = "best_validation_loss"
PARAMETERS = {"learning_rate": "Learning rate", "dropout": "Dropout", "patience": "Patience"}
LOGARITHMIC = frozenset({"learning_rate", LOSS})
STATES = alt.Scale(
    domain=["finished", "ASHA", "failed", "interrupted", "running"],
    range=["circle", "cross", "triangle-down", "square", "diamond"],
)
STATE = alt.Shape("state:N", scale=STATES, title=None, legend=alt.Legend(orient="top", columns=3))
ROW = [
    "run",
    "trial",
    "series",
    "state",
    "ending",
    "epochs",
    LOSS,
    "best_validation_accuracy",
    *PARAMETERS,
]
TRIAL = [
    *words("run", "trial", "series", "ending"),
    *counts("epochs"),
    *shares("best_validation_accuracy"),
]
TRIAL += numbers(LOSS, *PARAMETERS)


def history(trials: pd.DataFrame, best: pd.DataFrame) -> alt.LayerChart:
    """Every trial's lowest loss in the order of the trials; the steps are the `best` so far of each run."""
    shown = trials.loc[trials[LOSS] > 0, ROW]
    series = colour(shown.series, "Network")
    x = alt.X("trial:Q", axis=whole("Trial"))
    y = alt.Y(f"{LOSS}:Q", scale=log_scale(), title="Validation loss", axis=log_axis(shown[LOSS]))
    points = alt.Chart(shown, height=height_with(shown.series, HEIGHT + 50)).mark_point(
        filled=True, size=46, opacity=0.55
    )
    points = points.encode(x, y, series, shape=STATE, tooltip=TRIAL)
    steps = alt.Chart(best).mark_line(interpolate="step-after", strokeWidth=2.5)
    return points + steps.encode(x, alt.Y("best:Q"), series, detail=per("run", "series"))


def compare(best: pd.DataFrame) -> alt.Chart:
    """The best loss so far of each run, by the number of its trials."""
    lines = alt.Chart(best, height=height_with(best.label)).mark_line(
        interpolate="step-after", strokeWidth=2.5
    )
    return lines.encode(
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


def slices(trials: pd.DataFrame, parameter: str) -> alt.Chart:
    """Every trial's lowest loss against one hyperparameter."""
    shown = trials.loc[(trials[LOSS] > 0) & trials[parameter].notna(), ROW]
    scale = log_scale() if parameter in LOGARITHMIC else alt.Scale(zero=False, padding=8)
    axis = log_axis(shown[parameter]) if parameter in LOGARITHMIC else whole(PARAMETERS[parameter])
    if parameter == "dropout":
        axis = alt.Axis(grid=False, format=".2~f", tickCount=5)
    return (
        alt.Chart(shown, height=240)
        .mark_point(filled=True, size=36, opacity=0.6)
        .encode(
            alt.X(f"{parameter}:Q", scale=scale, axis=axis, title=PARAMETERS[parameter]),
            alt.Y(
                f"{LOSS}:Q", scale=log_scale(), title="Validation loss", axis=log_axis(shown[LOSS])
            ),
            alt.Color("series:N", scale=colours(shown.series), legend=None),
            shape=alt.Shape("state:N", scale=STATES, legend=None),
            tooltip=TRIAL,
        )
    )


def importance(found: pd.DataFrame) -> alt.Chart:
    """How much of the variance of the loss each hyperparameter explains (fANOVA), per network."""
    bars = alt.Chart(
        found.assign(name=found.parameter.map(PARAMETERS)), height=height_with(found.series)
    )
    return bars.mark_bar(cornerRadiusEnd=3, height={"band": 0.7}).encode(
        alt.X(
            "importance:Q",
            title="Share of the variance",
            axis=alt.Axis(format="%"),
            scale=alt.Scale(domain=[0, 1]),
        ),
        alt.Y("name:N", sort=list(PARAMETERS.values()), title=None),
        colour(found.series, None),
        yOffset=alt.YOffset("series:N"),
        tooltip=[*words("series", "name"), *shares("importance"), *counts("trials")],
    )


def parallel(trials: pd.DataFrame) -> alt.LayerChart:
    """Hyperparameters on parallel axes, one line a trial, the darker the lower its loss; hover to single one out."""
    rows, ticks = _axes(trials.loc[trials[LOSS] > 0, ROW])
    header = alt.Axis(
        orient="top",
        labelAngle=0,
        domain=False,
        ticks=False,
        labelFontWeight="bold",
        labelPadding=14,
        labelOverlap=False,
    )
    x = alt.X(
        "axis:N",
        sort=None,
        title=None,
        scale=alt.Scale(padding=0.4 if trials.series.nunique() > 1 else 0.2),
        axis=header,
    )
    y = alt.Y("place:Q", axis=None, scale=alt.Scale(domain=[-0.02, 1.02], nice=False))
    hover = alt.selection_point(
        fields=["run", "trial"], on="pointerover", clear="pointerout", empty=False
    )
    gradient = alt.Legend(format="%", gradientLength=140, tickCount=3, direction="horizontal")
    lines = (
        alt.Chart(rows, height=HEIGHT)
        .mark_line(strokeJoin="round")
        .encode(
            x,
            y,
            alt.Color(
                "rank:Q",
                scale=alt.Scale(scheme="viridis", domain=[0, 1]),
                title="Rank by loss",
                legend=gradient,
            ),
            detail=per("run", "trial"),
            opacity=alt.condition(hover, alt.value(1), alt.value(0.55)),
            strokeWidth=alt.condition(hover, alt.value(4), alt.value(1.5)),
            order=alt.Order("rank:Q", sort="descending"),
            tooltip=TRIAL,
        )
        .add_params(hover)
    )
    bars = (
        alt.Chart(rows)
        .mark_rule(color=RULE)
        .encode(x, alt.Y("min(place):Q", axis=None), alt.Y2("max(place):Q"))
    )
    halo = alt.Chart(ticks).mark_text(
        align="right", dx=-6, fontSize=11, stroke="white", strokeWidth=4
    )
    halo = halo.encode(x, y, text=alt.Text("label:N"))
    return lines + bars + halo + halo.mark_text(align="right", dx=-6, fontSize=11, color="#2f2d2b")


def _axes(trials: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """One row per trial and axis with its `place` from 0 to 1, and the axes' labels."""
    names = sorted(trials.series.unique())
    trials = trials.assign(
        network=trials.series.map(names.index), rank=trials.groupby("series")[LOSS].rank(pct=True)
    )
    wanted = {"network": "Network"} if len(names) > 1 else {}
    wanted |= {name: title for name, title in PARAMETERS.items() if trials[name].notna().any()}
    rows, ticks = [], []
    for name, title in {**wanted, LOSS: "Validation loss"}.items():
        values = trials[name].astype(float)
        low, high = values.min(), values.max()
        labels = (
            dict(enumerate(names))
            if name == "network"
            else round_marks(low, high, name in LOGARITHMIC)
        )
        scaled = np.log10 if name in LOGARITHMIC else np.asarray
        start, span = scaled(low), (scaled(high) - scaled(low)) or 1.0
        rows.append(
            trials.assign(axis=title, place=(scaled(values) - start) / span).dropna(subset="place")
        )
        ticks += [
            {"axis": title, "place": (scaled(mark) - start) / span, "label": label}
            for mark, label in labels.items()
        ]
    return pd.concat(rows), pd.DataFrame(ticks)
