"""Charts of a search: history, runs side by side, and what each hyperparameter does to the loss."""

from collections.abc import Iterable, Mapping

import altair as alt
import numpy as np
import pandas as pd

from analysis.charts.measures import MEASURES, Measure
from analysis.charts.style import (
    HALO,
    HEIGHT,
    RULE,
    colour,
    colours,
    counts,
    fractions,
    log_axis,
    log_scale,
    logarithmic_ends,
    moves,
    numbers,
    per,
    round_marks,
    value_axis,
    whole,
    words,
)
from analysis.charts.views import FANOVA, PED_ANOVA, bests
from analysis.edges import edge_of
from trainables.hyperparameters import Parameter, label, plain_text

LOSS = "best_validation_loss"
BY_LOSS = Parameter(1e-30, 1e30, log=True)  # the axis of the loss
STATES = alt.Scale(
    domain=["finished", "stopped", "failed", "interrupted", "running"],
    range=["circle", "cross", "triangle-down", "square", "diamond"],
)
COLUMNS = [
    *("run", "trial", "series", "state", "ending", "epochs", "best_validation_accuracy"),
    LOSS,
]
AT_EDGE = "#D55E00"
SIDES = ("lower", "upper")


def _tooltip(space: Mapping[str, Parameter], measure: Measure) -> list[alt.Tooltip]:
    more = [] if measure.of_trial in COLUMNS else [measure.of_trial]
    return [
        *words("run", "trial", "series", "ending"),
        *counts("epochs"),
        *fractions("best_validation_accuracy"),
        *numbers(LOSS, *more, *(name for name, one in space.items() if one.is_numeric)),
        *words(*(name for name, one in space.items() if not one.is_numeric)),
    ]


def _columns(space: Mapping[str, Parameter], measure: Measure) -> list[str]:
    return list(dict.fromkeys([*COLUMNS, measure.of_trial, *space]))


def _placed(trials: pd.DataFrame, measure: Measure, scale: str) -> pd.Series:
    """Say which trials have a place on the axis."""
    values = trials[measure.of_trial].astype(float)
    return values > 0 if scale == "log" else values.abs() < np.inf


def _trial() -> alt.X:
    scale = alt.Scale(nice=False, zero=False, padding=8)
    return alt.X("trial:Q", axis=whole("Trial"), scale=scale)


def _states(trials: pd.DataFrame) -> alt.Shape:
    shown = [state for state in STATES.domain if state in set(trials.state)]
    legend = alt.Legend(orient="top", columns=3, values=shown, symbolFillColor=RULE)
    return alt.Shape("state:N", scale=STATES, title=None, legend=legend)


def history(
    trials: pd.DataFrame,
    best: pd.DataFrame,
    space: Mapping[str, Parameter],
    *,
    measure: str = "loss",
    scale: str | None = None,
    names: Iterable[str] = (),
) -> alt.LayerChart:
    """Draw every trial's loss at its best epoch, in the order of the trials.

    Losses that do not compare have no place on one axis: give each of `panels` a chart of its own.

    Args:
        trials: As `labelled` returns them.
        best: As `best_so_far` returns it for that measure: the steps of each run.
        space: What the hyperparameters may be.
        measure: A key of MEASURES.
        scale: `log` or `linear`; by default the measure's.
        names: As `colour` takes them.
    """
    of = MEASURES[measure]
    scale = scale or of.scale
    shown = trials.loc[_placed(trials, of, scale), _columns(space, of)]
    series = colour(shown.series, "Network", names=names)
    y_scale, axis = value_axis(scale, shown[of.of_trial])
    x = _trial()
    points = (
        alt.Chart(shown, height=HEIGHT)
        .mark_point(filled=True, size=60, opacity=0.85)
        .encode(
            x,
            alt.Y(f"{of.of_trial}:Q", scale=y_scale, title=of.title(trials), axis=axis),
            series,
            _states(shown),
            tooltip=_tooltip(space, of),
        )
    )
    steps = best[best.best > 0] if scale == "log" else best
    lines = (
        alt.Chart(steps)
        .mark_line(interpolate="step-after", strokeWidth=2.5)
        .encode(x, alt.Y("best:Q"), series, detail=per("run", "series"))
    )
    return moves(points + lines, legend="series", zoom="xy", brush="xy")


def compare(
    best: pd.DataFrame,
    *,
    title: str = "Lowest validation loss so far",
    scale: str = "log",
    names: Iterable[str] = (),
) -> alt.Chart:
    """Draw the best value so far of each run, by the number of its trials.

    Args:
        best: As `best_so_far` returns it, with a `label` for each run.
        title: What the values are.
        scale: `log` or `linear`.
        names: As `colour` takes them.
    """
    best = best[best.best > 0] if scale == "log" else best
    y_scale, axis = value_axis(scale, best.best)
    chart = (
        alt.Chart(best, height=HEIGHT)
        .mark_line(interpolate="step-after", strokeWidth=2.5, point=alt.OverlayMarkDef(size=40))
        .encode(
            _trial(),
            alt.Y("best:Q", scale=y_scale, title=title, axis=axis),
            colour(best.label, "Run", "label", names),
            detail=per("run", "series"),
            tooltip=[*words("label", "series"), *counts("trial"), *numbers("best")],
        )
    )
    return moves(chart, legend="label", zoom="xy")


def slices(
    trials: pd.DataFrame,
    name: str,
    space: Mapping[str, Parameter],
    *,
    measure: str = "loss",
    scale: str | None = None,
    names: Iterable[str] = (),
) -> alt.LayerChart:
    """Draw every trial's loss at its best epoch against the hyperparameter `name`.

    Rules stand at the ends of the range that was searched. One at whose edge the best trial of a
    series lies is coloured and says so: beyond it may be better ones.

    Losses that do not compare have no place on one axis: give each of `panels` a chart of its own.

    Args:
        trials: As `labelled` returns them.
        name: The hyperparameter.
        space: What the hyperparameters may be.
        measure: A key of MEASURES.
        scale: `log` or `linear`, of the measure; by default its own.
        names: As `colour` takes them.
    """
    of = MEASURES[measure]
    scale = scale or of.scale
    placed = _placed(trials, of, scale) & trials[name].notna()
    shown = trials.loc[placed, _columns(space, of)]
    y_scale, axis = value_axis(scale, shown[of.of_trial])
    ends = _ends(trials[placed], name, space[name])
    x = _slice_axis(name, space[name], pd.concat([shown[name], ends.end]))
    points = (
        alt.Chart(shown, height=240)
        .mark_point(filled=True, size=50, opacity=0.85)
        .encode(
            x,
            alt.Y(f"{of.of_trial}:Q", scale=y_scale, title=of.title(trials), axis=axis),
            alt.Color("series:N", scale=colours(shown.series, names), legend=None),
            alt.Shape("state:N", scale=STATES, legend=None),
            tooltip=_tooltip(space, of),
        )
    )
    rules = alt.Chart(ends).encode(alt.X("end:Q"))
    dashes = rules.mark_rule(strokeDash=[4, 4]).encode(
        color=alt.condition("datum.edge", alt.value(AT_EDGE), alt.value(RULE)),
        size=alt.condition("datum.edge", alt.value(2), alt.value(1)),
        tooltip=[*numbers("end"), *words("note")],
    )
    chart = points + dashes
    lower, upper = (rules.transform_filter(f"datum.edge == '{side}'") for side in SIDES)
    notes = (
        lower.mark_text(align="left", dx=5, dy=5, fontSize=10, color=AT_EDGE),
        upper.mark_text(align="right", dx=-5, dy=5, fontSize=10, color=AT_EDGE),
    )
    for side, note in zip(SIDES, notes, strict=True):
        if side in set(ends.edge):
            chart += note.encode(y=alt.value(0), text=alt.Text("note:N"))
    return moves(chart, brush="xy", zoom="xy")


def _ends(trials: pd.DataFrame, name: str, parameter: Parameter) -> pd.DataFrame:
    """Return the ends of a searched range: `end`, `edge` of the best trials at it, and `note`."""
    columns = ["end", "edge", "note"]
    if not parameter.is_numeric or parameter.choices or parameter.is_fixed:
        return pd.DataFrame(columns=columns).astype({"end": float})
    best = bests(trials)
    at = {edge_of(name, parameter, row[name], row.stop_reason) for _, row in best.iterrows()}
    rows = [
        (end, side if side in at else "", f"best at the {side} edge" if side in at else "searched")
        for end, side in zip((parameter.low, parameter.high), SIDES, strict=True)
    ]
    return pd.DataFrame(rows, columns=columns)


def _slice_axis(name: str, parameter: Parameter, values: pd.Series) -> alt.X:
    if not parameter.is_numeric:
        return alt.X(f"{name}:N", axis=alt.Axis(grid=False, labelAngle=0), title=label(name))
    scale, axis = alt.Scale(zero=False, nice=False, padding=8), whole(label(name))
    if parameter.log:
        scale, axis = log_scale(), log_axis(values, grid=False)
    elif parameter.kind is float:
        axis = alt.Axis(grid=False, format=".2~f", tickCount=5)
    return alt.X(f"{name}:Q", scale=scale, axis=axis, title=label(name))


def importance(found: pd.DataFrame, *, names: Iterable[str] = ()) -> alt.LayerChart:
    """Draw how much each hyperparameter matters, per network.

    Bars are fANOVA's mean, and the lines across their ends go from its least to its most;
    diamonds are PED-ANOVA's.

    Args:
        found: As `importances` returns it.
        names: As `colour` takes them.
    """
    order = [label(name) for name in dict.fromkeys(found.parameter)]
    rows = found.assign(name=found.parameter.map(label)).drop(columns="parameter")
    series = sorted(set(found.series))
    y = alt.Y(
        "name:N",
        scale=alt.Scale(domain=order),
        title=None,
        axis=alt.Axis(labelLimit=160, ticks=False, labelPadding=6),
    )
    x = alt.X(
        "importance:Q",
        title=f"Bars: {FANOVA}, diamonds: {PED_ANOVA}",
        axis=alt.Axis(format="%", tickCount=5),
        scale=alt.Scale(domain=[0, 1]),
    )
    height = len(order) * (12 + 20 * len(series))
    base = alt.Chart(rows, height=height).encode(
        y,
        yOffset=alt.YOffset("series:N", scale=alt.Scale(domain=series)),
        tooltip=[
            *words("series", "method", "name"),
            *fractions("importance", "low", "high"),
            *counts("trials"),
        ],
    )
    of_forests = base.transform_filter(f"datum.method == '{FANOVA}'")
    bars = of_forests.mark_bar(cornerRadiusEnd=3, height={"band": 0.7}).encode(
        x, colour(found.series, None, names=names)
    )
    spread = of_forests.mark_rule(strokeWidth=2).encode(alt.X("low:Q", title=""), alt.X2("high:Q"))
    diamonds = (
        base.transform_filter(f"datum.method == '{PED_ANOVA}'")
        .mark_point(shape="diamond", size=90, opacity=1, strokeWidth=2)
        .encode(x, detail=per("series"))
    )
    return moves(bars + spread + diamonds, legend="series")


def parallel(
    trials: pd.DataFrame, space: Mapping[str, Parameter], *, measure: str = "loss"
) -> alt.LayerChart:
    """Draw hyperparameters on parallel axes, one line a trial; the best stand out most.

    The line that the pointer is on is thicker. What is brushed, a page reads with the map `axes`
    of `usermeta`: by title the column, the values at the ends 0 and 1, and whether the axis is
    logarithmic; of a column without order it has `values`.

    Args:
        trials: As `labelled` returns them.
        space: What the hyperparameters may be.
        measure: A key of MEASURES: by what trials are ranked, and the last axis.
    """
    of = MEASURES[measure]
    if of.log:
        logarithmic_ends(trials[of.of_trial])
    placed = trials.loc[_placed(trials, of, of.scale), _columns(space, of)]
    placed = placed.assign(_rank=_ranks(of.order(trials.loc[placed.index]), placed.series))
    rows, ticks, axes = _axes(placed, space, of, of.title(trials))
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
            labelLimit=110,
            labelExpr="split(datum.label, ' ')",
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
                title="Rank, 0 % the best",
                scale=alt.Scale(domain=[0, 1]),
                legend=alt.Legend(
                    format="%", gradientLength=140, tickCount=3, direction="horizontal"
                ),
            ),
            detail=per("run", "trial"),
            opacity=alt.condition(hover, alt.value(1), alt.value(0.6)),
            strokeWidth=alt.condition(hover, alt.value(4), alt.value(1.5)),
            order=alt.Order("_rank:Q", sort="descending"),
            tooltip=_tooltip(space, of),
        )
        .add_params(hover)
    )
    bars = (
        alt.Chart(rows)
        .mark_rule(color=RULE)
        .encode(x, alt.Y("min(_place):Q", axis=None), alt.Y2("max(_place):Q"))
    )
    labels = alt.Chart(ticks).encode(x, y, text=alt.Text("_label:N"))
    return moves(
        lines
        + bars
        + labels.mark_text(align="right", dx=-6, fontSize=11, style=HALO)
        + labels.mark_text(align="right", dx=-6, fontSize=11),
        brush="xy",
        axes=axes,
    )


def _ranks(order: pd.Series, series: pd.Series) -> pd.Series:
    """Return each trial's place in its series, from 0 for the best to 1 for the worst."""
    by_series = order.groupby(series)
    others = (by_series.transform("count") - 1).clip(lower=1)
    return (by_series.rank() - 1) / others


def _axes(
    trials: pd.DataFrame, space: Mapping[str, Parameter], measure: Measure, title: str
) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, dict[str, object]]]:
    """Return one row per trial and axis with its place from 0 to 1, the labels, and the axes.

    Columns that are added begin with a line, as no hyperparameter does.
    """
    axes = {name: (label(name), space[name]) for name in space if trials[name].notna().any()}
    if trials.series.nunique() > 1:
        networks = Parameter(choices=tuple(sorted(trials.series.unique())))
        axes = {"series": ("Network", networks), **axes}
    last = BY_LOSS if measure.log else Parameter(-1e30, 1e30)
    rows, ticks, said = [], [], {}
    for name, (head, parameter) in {**axes, measure.of_trial: (title, last)}.items():
        values, marks = _numbered(trials[name], parameter)
        scaled = np.log10 if parameter.log else np.asarray
        low, high = values.min(), values.max()
        start, span = scaled(low), (scaled(high) - scaled(low)) or 1.0
        places = (scaled(values) - start) / span
        rows.append(trials.assign(_axis=head, _place=places).dropna(subset="_place"))
        ticks += [(head, (scaled(mark) - start) / span, text) for mark, text in marks.items()]
        ends = {"low": float(low), "high": float(high), "log": parameter.log}
        said[head] = {"name": name, **ends}
        if not parameter.is_numeric:
            said[head] = {"name": name, "values": list(marks.values())}
    return pd.concat(rows), pd.DataFrame(ticks, columns=["_axis", "_place", "_label"]), said


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
