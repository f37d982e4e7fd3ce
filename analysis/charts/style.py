"""What every chart shares: colours, axes, tooltips, and the theme for paper."""

import re
from collections.abc import Iterable
from typing import Any, cast

import altair as alt
import pandas as pd

# Okabe and Ito's colours, told apart by colour-blind readers too; black and yellow left out
PALETTE = [
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#8C564B",
    "#7F7F7F",
    "#5B3F99",
    "#9A9A00",
]
PALETTE += ["#B22222", "#1B4F72", "#6B8E23", "#E377C2", "#00838F", "#A0785A"]
NETWORKS = {
    "cnn": PALETTE[0],
    "fc": PALETTE[1],
    "separable": PALETTE[2],
}  # the same wherever they are shown
RULE = "#6b7280"
FONT = "Liberation Sans"
HEIGHT = 340
LEGEND_ROW = 22
LEGEND: dict[str, Any] = {"orient": "bottom", "titleOrient": "left", "columns": 3}
STEPS = (1, 2, 5)
POWERS = range(-12, 13)
PLAIN_NUMBER = "format(datum.value, datum.value < 0.001 ? '~e' : ',.3~r')"


def colours(labels: Iterable[str]) -> alt.Scale:
    """A colour for each label; `fc` and `fc, perceptual` begin with the network, and the first has its colour."""
    chosen: dict[str, str] = {}
    for label in sorted(set(labels)):
        own = NETWORKS.get(re.split("[, ]", label)[0])
        if own and own not in chosen.values():
            chosen[label] = own
    others = [label for label in sorted(set(labels)) if label not in chosen]
    free = [one for one in PALETTE if one not in chosen.values()] or PALETTE
    chosen |= {label: free[place % len(free)] for place, label in enumerate(others)}
    return alt.Scale(domain=list(chosen), range=list(chosen.values()))


def colour(labels: pd.Series, title: str | None, column: str = "series") -> alt.Color:
    """Colour by a column of labels."""
    shown = alt.Legend(
        symbolOpacity=1, symbolStrokeWidth=2, labelLimit=600, columns=_legend_columns(labels)
    )
    return alt.Color(f"{column}:N", scale=colours(labels), title=title, legend=shown)


def height_with(labels: pd.Series, height: int = HEIGHT) -> int:
    """The height of a chart whose legend of these labels takes its place from it."""
    return height + LEGEND_ROW * -(-labels.nunique() // _legend_columns(labels))


def _legend_columns(labels: Iterable[str]) -> int:
    longest = max(map(len, labels), default=0)
    return 1 if longest > 20 else 2 if longest > 12 else 3  # so many fit across a phone


def log_scale() -> alt.Scale:
    """A logarithmic scale that ends near the data."""
    return alt.Scale(type="log", nice=False, padding=8)


def log_axis(values: pd.Series) -> alt.Axis:
    """Ticks at 1, 2 and 5 of each power of ten, or finer ones where the data spans less than a factor of 8.

    Its ends where no such tick lies within it.
    """
    low, high = values.min(), values.max()
    ticks = [digit * 10.0**power for power in POWERS for digit in STEPS]
    if high < 8 * low:
        ticks = [digit / 2 * tick for tick in ticks for digit in (2, 3)]
    shown = [tick for tick in ticks if low / 1.2 < tick < high * 1.2]
    shown = (
        shown
        if any(low <= tick <= high for tick in shown)
        else values[values.isin([low, high])].unique().tolist()
    )
    decades = [tick for tick in shown if f"{tick:e}"[0] == "1"]
    return alt.Axis(values=decades if len(shown) > 12 else shown, labelExpr=PLAIN_NUMBER)


def round_marks(low: float, high: float, log: bool) -> dict[float, str]:
    """Round numbers between two values, at which an axis of one's own is labelled."""
    if log:
        digits = (1,) if high / low > 200 else STEPS
        marks = [digit * 10.0**power for power in POWERS for digit in digits]
    else:
        span = (high - low) or abs(high) or 1.0
        step = next(
            digit * 10.0**power
            for power in POWERS
            for digit in STEPS
            if digit * 10.0**power * 6 >= span
        )
        first = int(-(-low // step))
        marks = [number * step for number in range(first, first + 8)]
    return {mark: f"{mark:.6g}" for mark in marks if low <= mark <= high} or {low: f"{low:.3g}"}


# Altair builds a table of all its classes for each bare string in an encoding, 6 ms a time: hence the objects here
def words(*names: str) -> list[alt.Tooltip]:
    """Tooltips of names."""
    return [alt.Tooltip(f"{name}:N") for name in names]


def numbers(*names: str) -> list[alt.Tooltip]:
    """Tooltips of numbers with three digits."""
    return [alt.Tooltip(f"{name}:Q", format=".3~g") for name in names]


def counts(*names: str) -> list[alt.Tooltip]:
    """Tooltips of whole numbers."""
    return [alt.Tooltip(f"{name}:Q", format=",d") for name in names]


def shares(*names: str) -> list[alt.Tooltip]:
    """Tooltips of shares."""
    return [alt.Tooltip(f"{name}:Q", format=".2%") for name in names]


def moments(*names: str) -> list[alt.Tooltip]:
    """Tooltips of points in time."""
    return [alt.Tooltip(f"{name}:T", format="%Y-%m-%d %H:%M:%S") for name in names]


def per(*names: str) -> list[alt.Detail]:
    """One line for each value of these columns."""
    return [alt.Detail(f"{name}:N") for name in names]


def whole(title: str) -> alt.Axis:
    """An axis of whole numbers."""
    return alt.Axis(tickMinStep=1, grid=False, title=title, format=",d")


def for_page(chart: alt.Chart | alt.LayerChart) -> alt.Chart | alt.LayerChart:
    """The chart with its legends above and below, so that it fits a phone's width too."""
    return chart.configure_legend(**LEGEND)


@alt.theme.register("paper", enable=False)
def paper() -> alt.theme.ThemeConfig:
    """The theme of saved figures: small type, black on white."""
    font: dict[str, Any] = {
        "labelFont": FONT,
        "titleFont": FONT,
        "labelFontSize": 10,
        "titleFontSize": 10,
    }
    font["titleFontWeight"] = "normal"
    lines = {
        "domainColor": "#333",
        "tickColor": "#333",
        "gridColor": "#e5e7eb",
        "labelColor": "#222",
    }
    config: dict[str, Any] = {
        "background": "white",
        "font": FONT,
        "view": {"stroke": None},
        "axis": font | lines | {"titleColor": "#111"},
        "legend": font | LEGEND | {"symbolSize": 40},
    }
    return cast(alt.theme.ThemeConfig, {"config": config})


def specification(chart: alt.TopLevelMixin, width: int = 520) -> dict[str, Any]:
    """The figure as Vega-Lite, in the theme for paper."""
    with alt.theme.enable("paper"), alt.data_transformers.enable("default", max_rows=None):
        sized = (
            chart
            if getattr(chart, "width", alt.Undefined) is not alt.Undefined
            else chart.properties(width=width)
        )
        spec: dict[str, Any] = sized.to_dict()
    return spec
