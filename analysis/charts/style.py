"""What every chart shares: colours, axes, tooltips, and the theme for paper."""

import json
import math
import re
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, TypeVar, cast

import altair as alt
import pandas as pd

# After Okabe and Ito, whose colours colour-blind readers tell apart too. Each is as dark as white
# ground needs and as light as dark ground needs: 3:1
PALETTE = [
    *("#0072B2", "#D55E00", "#009E73", "#C26A98", "#B88000", "#2E9BD6", "#9C6B5A", "#7F7F7F"),
    *("#8566C9", "#8A8A00", "#D64545", "#4A7FA5", "#6B8E23", "#D65BB0", "#008C96", "#A0785A"),
]
# Their colour is the same wherever they are shown
NETWORKS = {
    "cnn": PALETTE[0],
    "fc": PALETTE[1],
    "separable": PALETTE[2],
    "kron": PALETTE[3],
    "can": PALETTE[4],
}
RULE = "#7a828e"
GROUNDS = {"light": "#ffffff", "dark": "#16191f"}
INKS = {"light": "#1f2328", "dark": "#e6e8eb"}
RAMPS = {"light": [0, 0.9], "dark": [1, 0.2]}  # of the scheme viridis, from best to worst
HALO = "halo"  # the style of what lies behind a text
GRIDS = {"light": "#e3e6ea", "dark": "#2d323a"}
FONT = "Liberation Sans, Arial, Helvetica, sans-serif"  # the first three are of one width
HEIGHT = 320  # pixels of a chart, without axes and legends
# Above and below the chart, so that it fits a phone's width too
LEGEND: dict[str, Any] = {"orient": "bottom", "titleOrient": "left", "columns": 3}
# A line in a legend: 36 pixels, in which dashes can be told apart
LONG_DASH: dict[str, Any] = {
    "symbolType": "M-3,0L3,0",
    "symbolSize": 144,
    "symbolOffset": 12,
    "labelOffset": 18,
}
STEPS = (1, 2, 5)
FINER = (1, 1.5, 2, 3, 5, 7)
POWERS = range(-12, 13)
FEWEST_TICKS, MOST_TICKS = 4, 12
PLAIN_NUMBER = "format(datum.value, abs(datum.value) < 0.001 ? '.4~e' : ',.4~r')"
# Seconds as 1:30, or as 1:01:40
CLOCK = (
    "(datum.value >= 3600 ? floor(datum.value / 3600) + ':' : '') + "
    "pad(floor(datum.value / 60) % 60, datum.value >= 3600 ? 2 : 1, '0', 'left') + ':' + "
    "pad(datum.value % 60, 2, '0', 'left')"
)
# Pixels for a legend. On a page without the axis before it; the last term follows a resize
ACROSS = "(containerSize()[0] ? containerSize()[0] - 160 + 0 * width : width - 60)"
# Pinched, or turned while Ctrl is held: a wheel alone scrolls the page
ZOOMED_BY = "wheel![event.ctrlKey]"


class NothingToDrawError(Exception):
    """None of a chart's values has a place on its axes: a clause that says why."""


def palette(names: Iterable[str]) -> dict[str, str]:
    """Return a colour for each name, the same for the same names in whatever order.

    `fc` and `fc, perceptual` begin with the network: the first of them has the network's colour.
    """
    chosen: dict[str, str] = {}
    sorted_names = sorted(set(names))
    for name in sorted_names:
        own = NETWORKS.get(re.split("[, ]", name)[0])
        if own and own not in chosen.values():
            chosen[name] = own
    others = [name for name in sorted_names if name not in chosen]
    own_last = sorted(PALETTE, key=lambda one: one in NETWORKS.values())
    free = [one for one in own_last if one not in chosen.values()] or PALETTE
    return chosen | {name: free[place % len(free)] for place, name in enumerate(others)}


def colours(labels: Iterable[str], names: Iterable[str] = ()) -> alt.Scale:
    """Return the scale that colours these labels, as `palette` does among all `names`."""
    shown = sorted(set(labels))
    chosen = palette([*names, *shown])
    return alt.Scale(domain=shown, range=[chosen[label] for label in shown])


def colour(
    labels: pd.Series, title: str | None, column: str = "series", names: Iterable[str] = ()
) -> alt.Color:
    """Colour marks by a column.

    Args:
        labels: The column's values, which get a legend.
        title: The legend's.
        column: Its name.
        names: Everything that has a colour beside this chart, so that each has it everywhere.
    """
    return alt.Color(
        f"{column}:N",
        scale=colours(labels, names),
        title=title,
        legend=alt.Legend(
            symbolOpacity=1,
            symbolStrokeWidth=2,
            labelLimit=alt.ExprRef("max(120, width - 20)"),
            columns=legend_columns(labels),
        ),
    )


def legend_columns(labels: Iterable[str], symbol: int = 16) -> alt.ExprRef:
    """Return how many labels fit beside each other across the chart, however wide it is.

    On a page it is the width of the chart's place that counts: that of the chart itself changes
    while Vega makes room for the legend.

    Args:
        labels: The legend's.
        symbol: Pixels across a symbol.
    """
    longest = max(map(len, labels), default=0)
    return alt.ExprRef(f"max(1, floor({ACROSS} / {symbol + 12 + 6.5 * longest:.0f}))")


def log_scale() -> alt.Scale:
    """Return a logarithmic scale that ends near the data."""
    return alt.Scale(type="log", nice=False, padding=8)


def log_axis(values: pd.Series, **more: Any) -> alt.Axis:
    """Return an axis with at least four labelled ticks among the data, if it spans anything.

    They are at powers of ten where there are enough of them, else at 1, 2 and 5 of each, or at more
    digits, or at equal steps.

    Args:
        values: What the axis shows.
        more: Properties of the axis.

    Raises:
        NothingToDrawError: No value is above 0.
    """
    return alt.Axis(values=_log_ticks(*logarithmic_ends(values)), labelExpr=PLAIN_NUMBER, **more)


def _log_ticks(low: float, high: float) -> list[float]:
    for digits in ((1,), STEPS, FINER):
        every = [digit * 10.0**power for power in POWERS for digit in digits]
        ticks = [tick for tick in every if low / 1.001 <= tick <= high * 1.001]
        if len(ticks) >= FEWEST_TICKS:
            return ticks[:: -(-len(ticks) // MOST_TICKS)]
    return list(round_marks(low, high, log=False, most=10)) if low < high else [low]


def value_axis(scale: str, values: pd.Series, **more: Any) -> tuple[alt.Scale, alt.Axis]:
    """Return scale and axis of measured values.

    Args:
        scale: `log` or `linear`.
        values: What the axis shows.
        more: Properties of the axis.

    Raises:
        NothingToDrawError: The scale is logarithmic, and no value is above 0.
    """
    if scale == "log":
        return log_scale(), log_axis(values, **more)
    return alt.Scale(zero=False, nice=False, padding=8), alt.Axis(
        tickCount=6, labelExpr=PLAIN_NUMBER, **more
    )


def time_axis(most_sec: float, title: str) -> alt.Axis:
    """Return an axis of durations from 0 to `most_sec`, with ticks at whole minutes or so.

    The title is completed by what the labels say: minutes and seconds, or hours before them.
    """
    title += ", min:s" if most_sec < 3600 else ", h:min:s"
    steps = (1, 2, 5, 10, 15, 30, *(60 * step for step in (1, 2, 5, 10, 15, 30)))
    hours = (3600 * step * 10**power for power in range(6) for step in (1, 2, 5))
    step = next(step for step in (*steps, *hours) if 7 * step >= most_sec)
    ticks = [step * place for place in range(int(most_sec // step) + 1)]
    return alt.Axis(values=ticks, labelExpr=CLOCK, grid=False, title=title)


def logarithmic_ends(values: pd.Series) -> tuple[float, float]:
    """Return the lowest and the highest value that have a place on a logarithmic axis.

    Raises:
        NothingToDrawError: There is none.
    """
    shown = values[(values > 0) & (values < math.inf)]
    if shown.empty:
        raise NothingToDrawError("no value is above 0, and its axis is logarithmic")
    return shown.min(), shown.max()


def round_marks(low: float, high: float, log: bool, most: int = 6) -> dict[float, str]:
    """Return round numbers between two values, with their labels, for an axis of one's own.

    On an axis that is not logarithmic there are at most `most` steps, and more than 0.4 of that.
    """
    if log:
        marks = _log_ticks(low, high)
    else:
        span = (high - low) or abs(high) or 1.0
        steps = (digit * 10.0**power for power in POWERS for digit in STEPS)
        step = next(step for step in steps if most * step >= span)
        first = math.ceil(low / step - 1e-9)
        marks = [float(f"{number * step:.12g}") for number in range(first, first + most + 2)]
    return {mark: f"{mark:.6g}" for mark in marks if low <= mark <= high} or {low: f"{low:.3g}"}


def _tooltips(*names: str, kind: str = "Q", shown_as: str = "") -> list[alt.Tooltip]:
    """Return tooltips of these columns, as `words` of names and `numbers` with three digits.

    They are objects, since for a bare string Altair builds a table of all its classes, 6 ms a time.
    """
    return [alt.Tooltip(f"{name}:{kind}", format=shown_as) for name in names]


words = partial(_tooltips, kind="N")
numbers = partial(_tooltips, shown_as=".3~g")
counts = partial(_tooltips, shown_as=",d")
fractions = partial(_tooltips, shown_as=".2%")
moments = partial(_tooltips, kind="T", shown_as="%Y-%m-%d %H:%M:%S")


def per(*names: str) -> list[alt.Detail]:
    """Draw one line for each value of these columns."""
    return [alt.Detail(f"{name}:N") for name in names]


def whole(title: str) -> alt.Axis:
    """Return an axis of whole numbers."""
    labels = "datum.value % 1 ? '' : format(datum.value, ',d')"  # between 1 and 3 there are 1.5s
    return alt.Axis(tickMinStep=1, grid=False, title=title, labelExpr=labels)


def theme(ground: str) -> dict[str, Any]:
    """Return Vega-Lite's configuration for a `light` or a `dark` ground: text, grid, halos.

    The page gives it to Vega-Embed as `config`, and draws anew when a reader changes the ground.
    """
    ink = INKS[ground]
    return {
        "background": "transparent",
        "font": FONT,
        "view": {"stroke": None},
        "axis": {
            "labelColor": ink,
            "titleColor": ink,
            "titleFontWeight": "normal",
            "domainColor": RULE,
            "tickColor": RULE,
            "gridColor": GRIDS[ground],
        },
        "legend": {
            **LEGEND,
            "labelColor": ink,
            "titleColor": ink,
            "titleFontWeight": "normal",
            "symbolStrokeWidth": 2,
        },
        "text": {"color": ink},
        "rule": {"color": ink},
        "point": {"color": ink},
        "style": {
            HALO: {"stroke": GROUNDS[ground], "fill": GROUNDS[ground], "strokeWidth": 4},
        },
        # The best stands out most: dark on light ground, and light on dark ground
        "range": {"ramp": {"scheme": "viridis", "extent": RAMPS[ground]}},
    }


@alt.theme.register("paper", enable=False)
def paper() -> alt.theme.ThemeConfig:
    """Return the theme of saved figures: small type, black on white."""
    config = theme("light") | {"background": "white"}
    small = {"labelFontSize": 10, "titleFontSize": 10}
    config |= {part: config[part] | small for part in ("axis", "legend")}
    return cast(alt.theme.ThemeConfig, {"config": config})


def specification(chart: alt.TopLevelMixin, width: int = 520) -> dict[str, Any]:
    """Return the figure as Vega-Lite, in the theme for paper; `width` is in pixels."""
    with alt.theme.enable("paper"), alt.data_transformers.enable("default", max_rows=None):
        if getattr(chart, "width", alt.Undefined) is alt.Undefined:
            chart = chart.properties(width=width)
        specified = chart.to_dict()
    specified.pop("usermeta", None)
    return specified


Chart = TypeVar("Chart", alt.Chart, alt.LayerChart)


def moves(
    chart: Chart,
    *,
    legend: str = "",
    zoom: Sequence[str] = (),
    brush: Sequence[str] = (),
    **more: Any,
) -> Chart:
    """Note what a reader may do with a figure on a page; a saved one is not changed by it.

    Args:
        chart: The figure.
        legend: The column whose values a click on the legend hides and shows.
        zoom: Encodings, of `x` and `y`, that are zoomed by pinching or with Ctrl and the wheel, and
            moved by dragging where nothing is brushed.
        brush: Encodings that are brushed: the parameter `brush` of the page's view has the ends of
            what was chosen, by column.
        more: What else the page has to know.
    """
    noted = {"legend": legend, "zoom": [*zoom], "brush": [*brush], **more}
    return chart.properties(usermeta=noted)


def page(chart: alt.TopLevelMixin) -> dict[str, Any]:
    """Return the figure as Vega-Lite for a page: as wide as its place, and a reader can use it.

    It has no colours of ground and text, which `theme` has, and does what `moves` noted.
    """
    with alt.theme.enable("none"), alt.data_transformers.enable("default", max_rows=None):
        if getattr(chart, "width", alt.Undefined) is alt.Undefined:
            chart = chart.properties(width="container")
        # Not checked by Vega-Lite's schema, which takes as long as the rest: tests do that
        specified = chart.to_dict(validate=False)
    specified.pop("config", None)
    noted = specified.get("usermeta", {})
    if noted.get("legend"):
        _hide_by_legend(specified, noted["legend"])
    layer = specified.get("layer", [specified])[0]
    if noted.get("brush"):
        select = {"type": "interval", "encodings": noted["brush"], "zoom": False}
        _add_parameter(specified, layer, {"name": "brush", "select": select})
    if noted.get("zoom"):
        select = {"type": "interval", "encodings": noted["zoom"], "zoom": ZOOMED_BY}
        if noted["brush"]:
            select["translate"] = False
        _add_parameter(specified, layer, {"name": "zoom", "select": select, "bind": "scales"})
        for channel in noted["zoom"]:
            _free_ticks(specified, channel, layer["encoding"][channel]["field"])
    return specified


def _free_ticks(specified: dict[str, Any], channel: str, column: str) -> None:
    """Leave the ticks of an axis to Vega while it is zoomed: ours are of the whole of it."""
    for layer in specified.get("layer", [specified]):
        axis = layer["encoding"].get(channel, {}).get("axis")
        if axis and "values" in axis:
            axis["values"] = {"expr": f"zoom['{column}'] ? null : {json.dumps(axis['values'])}"}


def _hide_by_legend(specified: dict[str, Any], column: str) -> None:
    """Let a click on the legend hide what it names, and the next one show it again."""
    coloured = []
    for layer in specified.get("layer", [specified]):
        fields = {
            channel: one.get("field")
            for channel, one in layer["encoding"].items()
            if isinstance(one, dict)
        }
        if column in fields.values():
            layer.setdefault("transform", []).append({"filter": {"param": "shown"}})
        if fields.get("color") == column:
            coloured.append(layer)
    every = coloured[0]["encoding"]["color"]["scale"]["domain"]
    parameter = {
        "name": "shown",
        "select": {"type": "point", "fields": [column], "toggle": "true"},
        "bind": "legend",
        "value": [{column: one} for one in every],
    }
    _add_parameter(specified, coloured[0], parameter)


def _add_parameter(
    specified: dict[str, Any], layer: dict[str, Any], parameter: dict[str, Any]
) -> None:
    """Add a selection to a layer: at the top, since those there replace a layer's own."""
    if layer is not specified:
        parameter["views"] = [layer.setdefault("name", f"layer of {parameter['name']}")]
    specified.setdefault("params", []).append(parameter)
