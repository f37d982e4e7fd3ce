"""What every chart shares: colours, axes, tooltips, and the theme for paper."""

import math
import re
from collections.abc import Iterable
from functools import partial
from typing import Any, cast

import altair as alt
import pandas as pd

# Okabe and Ito's colours, told apart by colour-blind readers too; black and yellow left out
PALETTE = [
    *("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C564B", "#7F7F7F"),
    *("#5B3F99", "#9A9A00", "#B22222", "#1B4F72", "#6B8E23", "#E377C2", "#00838F", "#A0785A"),
]
# Their colour is the same wherever they are shown
NETWORKS = {
    "cnn": PALETTE[0],
    "fc": PALETTE[1],
    "separable": PALETTE[2],
    "kron": PALETTE[3],
    "can": PALETTE[4],
}
RULE = "#6b7280"
FONT = "Liberation Sans"
HEIGHT = 340  # pixels of a chart without its legend
LEGEND_ROW = 22  # pixels
# Above and below the chart, so that it fits a phone's width too
LEGEND: dict[str, Any] = {"orient": "bottom", "titleOrient": "left", "columns": 3}
STEPS = (1, 2, 5)
POWERS = range(-12, 13)
PLAIN_NUMBER = "format(datum.value, datum.value < 0.001 ? '~e' : ',.3~r')"


class NothingToDrawError(Exception):
    """None of a chart's values has a place on its axes: a clause that says why."""


def colours(labels: Iterable[str]) -> alt.Scale:
    """Return a colour for each label.

    `fc` and `fc, perceptual` begin with the network: the first of them has the network's colour.
    """
    chosen: dict[str, str] = {}
    sorted_labels = sorted(set(labels))
    for label in sorted_labels:
        own = NETWORKS.get(re.split("[, ]", label)[0])
        if own and own not in chosen.values():
            chosen[label] = own
    others = [label for label in sorted_labels if label not in chosen]
    free = [one for one in PALETTE if one not in chosen.values()] or PALETTE
    chosen |= {label: free[place % len(free)] for place, label in enumerate(others)}
    return alt.Scale(domain=list(chosen), range=list(chosen.values()))


def colour(labels: pd.Series, title: str | None, column: str = "series") -> alt.Color:
    """Colour marks by a column, whose `labels` get a legend."""
    return alt.Color(
        f"{column}:N",
        scale=colours(labels),
        title=title,
        legend=alt.Legend(
            symbolOpacity=1, symbolStrokeWidth=2, labelLimit=600, columns=_legend_columns(labels)
        ),
    )


def height_with(labels: pd.Series, height: int = HEIGHT) -> int:
    """Return the height of a chart, in pixels, with the legend of these labels."""
    return height + LEGEND_ROW * -(-labels.nunique() // _legend_columns(labels))


def _legend_columns(labels: Iterable[str]) -> int:
    """Return how many labels fit beside each other across a phone."""
    longest = max(map(len, labels), default=0)
    return sum(longest <= limit for limit in (12, 20)) + 1


def log_scale() -> alt.Scale:
    """Return a logarithmic scale that ends near the data."""
    return alt.Scale(type="log", nice=False, padding=8)


def log_axis(values: pd.Series) -> alt.Axis:
    """Return an axis with ticks at 1, 2 and 5 of each power of ten, or at its ends.

    Where the data spans less than a factor of 8 there are more ticks, and where it spans many
    powers only those.

    Raises:
        NothingToDrawError: No value is above 0.
    """
    low, high = logarithmic_ends(values)
    ticks = [digit * 10.0**power for power in POWERS for digit in STEPS]
    if high < 8 * low:
        ticks = [digit / 2 * tick for tick in ticks for digit in (2, 3)]
    shown = [tick for tick in ticks if low / 1.2 < tick < high * 1.2]
    if not any(low <= tick <= high for tick in shown):
        shown = values[values.isin([low, high])].unique().tolist()
    if len(shown) > 12:
        shown = [tick for tick in shown if f"{tick:e}"[0] == "1"]
    return alt.Axis(values=shown, labelExpr=PLAIN_NUMBER)


def logarithmic_ends(values: pd.Series) -> tuple[float, float]:
    """Return the lowest and the highest value that have a place on a logarithmic axis.

    Raises:
        NothingToDrawError: There is none.
    """
    shown = values[(values > 0) & (values < math.inf)]
    if shown.empty:
        raise NothingToDrawError("no value is above 0, and its axis is logarithmic")
    return shown.min(), shown.max()


def round_marks(low: float, high: float, log: bool) -> dict[float, str]:
    """Return round numbers between two values, with their labels, for an axis of one's own."""
    if log:
        digits = (1,) if high / low > 200 else STEPS
        marks = [digit * 10.0**power for power in POWERS for digit in digits]
    else:
        span = (high - low) or abs(high) or 1.0
        steps = (digit * 10.0**power for power in POWERS for digit in STEPS)
        step = next(step for step in steps if 6 * step >= span)
        first = int(-(-low // step))
        marks = [number * step for number in range(first, first + 8)]
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
    return alt.Axis(tickMinStep=1, grid=False, title=title, format=",d")


@alt.theme.register("paper", enable=False)
def paper() -> alt.theme.ThemeConfig:
    """Return the theme of saved figures: small type, black on white."""
    font = {
        "labelFont": FONT,
        "titleFont": FONT,
        "labelFontSize": 10,
        "titleFontSize": 10,
        "titleFontWeight": "normal",
    }
    config = {
        "background": "white",
        "font": FONT,
        "view": {"stroke": None},
        "axis": {
            **font,
            "domainColor": "#333",
            "tickColor": "#333",
            "gridColor": "#e5e7eb",
            "labelColor": "#222",
            "titleColor": "#111",
        },
        "legend": {**font, **LEGEND, "symbolSize": 40},
    }
    return cast(alt.theme.ThemeConfig, {"config": config})


def specification(chart: alt.TopLevelMixin, width: int = 520) -> dict[str, Any]:
    """Return the figure as Vega-Lite, in the theme for paper; `width` is in pixels."""
    with alt.theme.enable("paper"), alt.data_transformers.enable("default", max_rows=None):
        if getattr(chart, "width", alt.Undefined) is alt.Undefined:
            chart = chart.properties(width=width)
        return chart.to_dict()
