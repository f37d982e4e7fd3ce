"""Charts of a search: history, runs side by side, and what each hyperparameter does to the loss."""

from collections.abc import Mapping

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
from trainables.hyperparameters import Parameter, label, plain_text

LOSS = "best_validation_loss"
BY_LOSS = Parameter(1e-30, 1e30, log=True)  # the axis of the loss
STATES = alt.Scale(
    domain=["finished", "stopped", "failed", "interrupted", "running"],
    range=["circle", "cross", "triangle-down", "square", "diamond"],
)
STATE = alt.Shape("state:N", scale=STATES, title=None, legend=alt.Legend(orient="top", columns=3))
COLUMNS = [
    *("run", "trial", "series", "state", "ending", "epochs", "best_validation_accuracy"),
    LOSS,
]


def _tooltip(space: Mapping[str, Parameter]) -> list[alt.Tooltip]:
    return [
        *words("run", "trial", "series", "ending"),
        *counts("epochs"),
        *fractions("best_validation_accuracy"),
        *numbers(LOSS, *(name for name, one in space.items() if one.is_numeric)),
        *words(*(name for name, one in space.items() if not one.is_numeric)),
    ]


def history(
    trials: pd.DataFrame, best: pd.DataFrame, space: Mapping[str, Parameter]
) -> alt.LayerChart:
    """Draw every trial's loss at its best epoch, in the order of the trials.

    Args:
        trials: As `labelled` returns them.
        best: As `best_so_far` returns it: the steps of each run.
        space: What the hyperparameters may be.
    """
    shown = trials.loc[trials[LOSS] > 0, [*COLUMNS, *space]]
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
            tooltip=_tooltip(space),
        )
    )
    steps = best[best.best > 0]
    return points + alt.Chart(steps).mark_line(interpolate="step-after", strokeWidth=2.5).encode(
        x, alt.Y("best:Q"), series, detail=per("run", "series")
    )


def compare(best: pd.DataFrame) -> alt.Chart:
    """Draw the lowest loss so far of each run, by the number of its trials.

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
                title="Lowest validation loss so far",
                axis=log_axis(best.best),
            ),
            colour(best.label, "Run", "label"),
            detail=per("run", "series"),
            tooltip=[*words("label", "series"), *counts("trial"), *numbers("best")],
        )
    )


def slices(trials: pd.DataFrame, name: str, space: Mapping[str, Parameter]) -> alt.Chart:
    """Draw every trial's loss at its best epoch against the hyperparameter `name`."""
    shown = trials.loc[(trials[LOSS] > 0) & trials[name].notna(), [*COLUMNS, *space]]
    x = _slice_axis(name, space[name], shown[name])
    return (
        alt.Chart(shown, height=240)
        .mark_point(filled=True, size=36, opacity=0.6)
        .encode(
            x,
            alt.Y(
                f"{LOSS}:Q", scale=log_scale(), title="Validation loss", axis=log_axis(shown[LOSS])
            ),
            alt.Color("series:N", scale=colours(shown.series), legend=None),
            alt.Shape("state:N", scale=STATES, legend=None),
            tooltip=_tooltip(space),
        )
    )


def _slice_axis(name: str, parameter: Parameter, values: pd.Series) -> alt.X:
    if not parameter.is_numeric:
        return alt.X(f"{name}:N", axis=alt.Axis(grid=False, labelAngle=0), title=label(name))
    scale, axis = alt.Scale(zero=False, padding=8), whole(label(name))
    if parameter.log:
        scale, axis = log_scale(), log_axis(values)
    elif parameter.kind is float:
        axis = alt.Axis(grid=False, format=".2~f", tickCount=5)
    return alt.X(f"{name}:Q", scale=scale, axis=axis, title=label(name))


def importance(found: pd.DataFrame) -> alt.Chart:
    """Draw how much of the variance of the loss each hyperparameter explains, per network.

    Args:
        found: As `importances` returns it.
    """
    names = [label(name) for name in dict.fromkeys(found.parameter)]
    return (
        alt.Chart(found.assign(name=found.parameter.map(label)), height=height_with(found.series))
        .mark_bar(cornerRadiusEnd=3, height={"band": 0.7})
        .encode(
            alt.X(
                "importance:Q",
                title="Share of the variance",
                axis=alt.Axis(format="%"),
                scale=alt.Scale(domain=[0, 1]),
            ),
            alt.Y("name:N", sort=names, title=None),
            colour(found.series, None),
            yOffset=alt.YOffset("series:N"),
            tooltip=[*words("series", "name"), *fractions("importance"), *counts("trials")],
        )
    )


def parallel(trials: pd.DataFrame, space: Mapping[str, Parameter]) -> alt.LayerChart:
    """Draw hyperparameters on parallel axes, one line a trial, the darker the lower its loss.

    The line that the pointer is on stands out.
    """
    logarithmic_ends(trials[LOSS])
    rows, ticks = _axes(trials.loc[trials[LOSS] > 0, [*COLUMNS, *space]], space)
    x = alt.X(
        "_axis:N",
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
    y = alt.Y("_place:Q", axis=None, scale=alt.Scale(domain=[-0.02, 1.02], nice=False))
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
                "_rank:Q",
                title="Rank by loss",
                scale=alt.Scale(scheme="viridis", domain=[0, 1]),
                legend=alt.Legend(
                    format="%", gradientLength=140, tickCount=3, direction="horizontal"
                ),
            ),
            detail=per("run", "trial"),
            opacity=alt.condition(hover, alt.value(1), alt.value(0.55)),
            strokeWidth=alt.condition(hover, alt.value(4), alt.value(1.5)),
            order=alt.Order("_rank:Q", sort="descending"),
            tooltip=_tooltip(space),
        )
        .add_params(hover)
    )
    bars = (
        alt.Chart(rows)
        .mark_rule(color=RULE)
        .encode(x, alt.Y("min(_place):Q", axis=None), alt.Y2("max(_place):Q"))
    )
    halo = (
        alt.Chart(ticks)
        .mark_text(align="right", dx=-6, fontSize=11, stroke="white", strokeWidth=4)
        .encode(x, y, text=alt.Text("_label:N"))
    )
    return lines + bars + halo + halo.mark_text(align="right", dx=-6, fontSize=11, color="#2f2d2b")


def _axes(
    trials: pd.DataFrame, space: Mapping[str, Parameter]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return one row per trial and axis with its place from 0 to 1, and the axes' labels.

    Columns that are added begin with a line, as no hyperparameter does.
    """
    trials = trials.assign(_rank=trials.groupby("series")[LOSS].rank(pct=True))
    axes = {name: (label(name), space[name]) for name in space if trials[name].notna().any()}
    if trials.series.nunique() > 1:
        networks = Parameter(choices=tuple(sorted(trials.series.unique())))
        axes = {"series": ("Network", networks), **axes}
    rows, ticks = [], []
    for name, (title, parameter) in {**axes, LOSS: ("Validation loss", BY_LOSS)}.items():
        values, marks = _numbered(trials[name], parameter)
        scaled = np.log10 if parameter.log else np.asarray
        low, high = values.min(), values.max()
        start, span = scaled(low), (scaled(high) - scaled(low)) or 1.0
        places = (scaled(values) - start) / span
        rows.append(trials.assign(_axis=title, _place=places).dropna(subset="_place"))
        ticks += [(title, (scaled(mark) - start) / span, text) for mark, text in marks.items()]
    return pd.concat(rows), pd.DataFrame(ticks, columns=["_axis", "_place", "_label"])


def _numbered(values: pd.Series, parameter: Parameter) -> tuple[pd.Series, dict[float, str]]:
    """Return values as numbers, and which of them have which labels on an axis."""
    if parameter.is_numeric:
        found = values.astype(float)
        return found, round_marks(found.min(), found.max(), parameter.log)
    names = [plain_text(value) for value in parameter.values]
    places = values.map(lambda value: names.index(plain_text(value)), na_action="ignore").astype(
        float
    )
    return places, {place: names[int(place)] for place in sorted(places.dropna().unique())}
