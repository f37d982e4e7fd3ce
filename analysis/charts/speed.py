"""Charts of speed: time by batch size, times as fast as the pipeline, and quality beside speed."""

import math
from collections.abc import Iterable

import altair as alt
import pandas as pd

from analysis.charts.style import (
    HEIGHT,
    RULE,
    colour,
    counts,
    fractions,
    log_axis,
    logarithmic_ends,
    moves,
    numbers,
    words,
)
from analysis.timing.comparison import RESULTS
from trainables.thresholds import THRESHOLD

VERDICTS = alt.Scale(
    domain=["valid", "rough", "invalid", "unfinished"],
    range=["circle", "diamond", "cross", "square"],
)
STUDY = "#8b5cf6"
# The margin above 100 % has no label
UP_TO_ONE = "datum.value > 1 ? '' : format(datum.value, '.4~%')"
# µs with the unit of their size
TIME = (
    "datum.value >= 1e6 ? format(datum.value / 1e6, '.4~r') + ' s' : "
    "datum.value >= 1e3 ? format(datum.value / 1e3, '.4~r') + ' ms' : "
    "format(datum.value, '.4~r') + ' µs'"
)
DRAWN = ["subject", "batch_size", "verdict", "us", "lower", "upper"]
MORE = ["device", "reason", "processes", "images"]
BEST = [*DRAWN, "kind", "share_95", "share_99", "unbeaten"]
FAINT = alt.condition(
    alt.FieldOneOfPredicate("verdict", list(RESULTS)), alt.value(1), alt.value(0.4)
)
NARROW = 210  # pixels across the points on a phone, for which names are placed
WIDEST = NARROW + 24  # with what is left free beside them
LETTER, LINE = 6.2, 13  # pixels of a name: width of a letter, height
PLACED = ["align", "right", "below"]
# Where a name may stand beside its point: how it is aligned, pixels to the right and below
PLACES = (
    *(("center", 0, below) for below in (-13, 15)),
    *(
        (align, right, below)
        for below in (-13, 15)
        for align, right in (("left", -6), ("right", 6))
    ),
    *(("left", 10, 1), ("right", -10, 1)),
    *(
        (align, right, below)
        for below in (-26, 28, -40, 42, -54, 56)
        for align, right in (("left", 8), ("right", -8))
    ),
)
POINT = 6  # pixels from the middle of a point to its edge


def times(
    series: pd.DataFrame, study: pd.DataFrame, *, names: Iterable[str] = ()
) -> alt.LayerChart:
    """Draw the median time an image by batch size; bars span its 95 % interval.

    Args:
        series: `subject`, `batch_size`, `us`, `lower`, `upper` (µs an image), `verdict`, and what
            the tooltip says.
        study: The study's numbers, drawn as rules: `subject` and `us`.
        names: As `colour` takes them.
    """
    every = pd.concat([series.lower, series.upper, study.us])
    low, high = logarithmic_ends(every)
    scale = alt.Scale(type="log", domain=[low / 1.2, high * 1.3], nice=False)
    y = alt.Y("us:Q", scale=scale, title="Time an image", axis=_time_axis(every))
    base = alt.Chart(series[[*DRAWN, *MORE]], height=HEIGHT).encode(
        _batch_size(),
        colour(series.subject, None, "subject", names),
        tooltip=[
            *words("subject", "device", "verdict", "reason"),
            *counts("batch_size", "processes", "images"),
            *numbers("us", "lower", "upper"),
        ],
    )
    rules = alt.Chart(study).encode(alt.Y("us:Q", scale=scale))
    chart = (
        base.mark_line(strokeWidth=1.5, opacity=0.6).encode(y)
        + rules.mark_rule(strokeDash=[5, 4], color=STUDY)
        + rules.mark_text(align="right", x="width", dy=-6, fontSize=10, color=STUDY).encode(
            text=alt.Text("subject:N")
        )
        + base.mark_rule(strokeWidth=2).encode(
            alt.Y("lower:Q", scale=scale, title=""), alt.Y2("upper:Q"), opacity=FAINT
        )
        + base.mark_point(filled=True, size=80).encode(y, _verdict(series), opacity=FAINT)
    )
    return moves(chart, legend="subject")


def speedup(ratios: pd.DataFrame, *, names: Iterable[str] = ()) -> alt.LayerChart:
    """Draw times as fast as the pipeline at the same batch size; above the rule it is faster.

    What is no result is faint, and no line joins it.

    Args:
        ratios: `subject`, `batch_size`, `median`, `low` and `high` (its 95 % interval), `pairs` and
            `verdict`.
        names: As `colour` takes them.
    """
    every = pd.concat([ratios.low, ratios.high, pd.Series([1.0])])
    low, high = logarithmic_ends(every)
    scale = alt.Scale(type="log", domain=[low / 1.2, high * 1.2], nice=False)
    y = alt.Y("median:Q", scale=scale, title="Times as fast as the pipeline", axis=log_axis(every))
    base = alt.Chart(ratios, height=HEIGHT).encode(
        _batch_size(),
        colour(ratios.subject, None, "subject", names),
        tooltip=[
            *words("subject", "verdict"),
            *counts("batch_size"),
            *numbers("median", "low", "high"),
            *counts("pairs"),
        ],
    )
    results = base.transform_filter(alt.FieldOneOfPredicate("verdict", list(RESULTS)))
    rule = (
        alt.Chart(pd.DataFrame({"median": [1.0]}))
        .mark_rule(color=RULE, strokeDash=[4, 4])
        .encode(alt.Y("median:Q", scale=scale))
    )
    chart = (
        results.mark_line(strokeWidth=1.5).encode(y)
        + rule
        + base.mark_rule(strokeWidth=2).encode(
            alt.Y("low:Q", scale=scale, title=""), alt.Y2("high:Q"), opacity=FAINT
        )
        + base.mark_point(filled=True, size=70).encode(y, _verdict(ratios), opacity=FAINT)
    )
    return moves(chart, legend="subject")


def pareto(bests: pd.DataFrame, *, names: Iterable[str] = ()) -> alt.LayerChart:
    """Draw each subject at its best batch size: quality against time.

    A line joins those that none beats at both, and they are named.

    Args:
        bests: `subject`, `kind`, `batch_size`, `us`, `lower`, `upper`, `share_95`, `share_99`,
            `verdict`, `unbeaten`.
        names: As `colour` takes them.
    """
    every = pd.concat([bests.us, bests.lower, bests.upper])
    x = alt.X(
        "us:Q",
        scale=alt.Scale(type="log", nice=False, padding=24),
        title="Time an image, end to end",
        axis=_time_axis(every),
    )
    y = alt.Y(
        "share_95:Q",
        title=f"Images at cosine ≥ {THRESHOLD}",
        axis=alt.Axis(labelExpr=UP_TO_ONE, tickCount=6),
        scale=alt.Scale(zero=False, padding=30),
    )
    base = alt.Chart(bests[BEST], height=HEIGHT).encode(
        colour(bests.subject, None, "subject", names),
        tooltip=[
            *words("subject", "kind", "verdict"),
            *counts("batch_size"),
            *numbers("us", "lower", "upper"),
            *fractions("share_95", "share_99"),
        ],
    )
    points = base.mark_point(filled=True, size=110).encode(x, y, _verdict(bests), opacity=FAINT)
    spread = base.mark_rule(strokeWidth=1.5).encode(
        alt.X("lower:Q", title=""), alt.X2("upper:Q"), y, opacity=FAINT
    )
    front = alt.Chart(_named(bests)).encode(x, y)
    align, right, below = (alt.ExprRef(f"datum.{name}") for name in PLACED)
    chart = (
        points
        + spread
        + front.mark_line(strokeWidth=1.5, color=RULE).encode(order=alt.Order("us:Q"))
        + front.mark_text(fontSize=11, align=align, dx=right, dy=below).encode(
            text=alt.Text("subject:N")
        )
    )
    return moves(chart, legend="subject", zoom="xy")


def _named(bests: pd.DataFrame) -> pd.DataFrame:
    """Return the front with a place for each name: `align`, `right` and `below`, in pixels.

    No name lies on another or on another's point, on a phone's width, and so on any wider one.
    """
    every = bests[BEST].assign(
        across=_pixels(bests.us.astype(float).map(math.log), NARROW),
        down=-_pixels(bests.share_95.astype(float), HEIGHT - 60),
    )
    taken = [
        (x - POINT, y - POINT, x + POINT, y + POINT)
        for x, y in zip(every.across, every.down, strict=True)
    ]
    front = every[every.unbeaten].sort_values("us")
    places = []
    for subject, x, y in zip(front.subject, front.across, front.down, strict=True):
        boxes = {place: _box(subject, x, y, *place) for place in PLACES}
        inside = {
            place: box
            for place, box in boxes.items()
            if box[0] >= NARROW - WIDEST and box[2] <= WIDEST
        }
        free = [place for place, box in inside.items() if _is_free(box, taken)]
        place = next(iter([*free, *inside, *boxes]))
        taken.append(boxes[place])
        places.append(place)
    placed = pd.DataFrame(places, front.index, PLACED)
    return pd.concat([front[BEST], placed], axis=1)


def _box(name: str, x: float, y: float, align: str, right: float, below: float) -> "Box":
    width = LETTER * len(name)
    left = x + right - {"left": 0.0, "center": width / 2, "right": width}[align]
    return left, y + below - LINE / 2, left + width, y + below + LINE / 2


def _pixels(values: pd.Series, length: int) -> pd.Series:
    span = values.max() - values.min()
    return (values - values.min()) / (span or 1.0) * length


Box = tuple[float, float, float, float]


def _is_free(box: Box, taken: list[Box]) -> bool:
    left, top, right, bottom = box
    return not any(
        left < its_right and its_left < right and top < its_bottom and its_top < bottom
        for its_left, its_top, its_right, its_bottom in taken
    )


def measurements(bests: pd.DataFrame, *, names: Iterable[str] = ()) -> alt.LayerChart:
    """Draw the same subjects in several measurements, which are never joined into one number.

    A subject is a row, and has a line of its own in it for each measurement.

    Args:
        bests: Each subject at its best batch size: `subject`, `measurement`, `batch_size`, `us`,
            `lower`, `upper` and `verdict`.
        names: As `colour` takes them.
    """
    order = bests.groupby("subject").us.min().sort_values().index.tolist()
    sessions = bests.measurement.unique().tolist()
    every = pd.concat([bests.us, bests.lower, bests.upper])
    x = alt.X(
        "us:Q",
        scale=alt.Scale(type="log", nice=False, padding=10),
        title="Time an image, end to end",
        axis=_time_axis(every),
    )
    rows = len(order) * (14 * len(sessions) + 10)
    base = alt.Chart(bests[[*DRAWN, "measurement"]], height=rows).encode(
        alt.Y(
            "subject:N",
            title=None,
            scale=alt.Scale(domain=order, paddingInner=0.25),
            axis=alt.Axis(
                labelLimit=150, grid=True, ticks=False, labelPadding=6, labelOverlap=False
            ),
        ),
        colour(bests.measurement, None, "measurement", names),
        yOffset=alt.YOffset("measurement:N", scale=alt.Scale(domain=sessions)),
        tooltip=[
            *words("measurement", "subject", "verdict"),
            *counts("batch_size"),
            *numbers("us", "lower", "upper"),
        ],
    )
    spread = base.mark_rule(strokeWidth=2).encode(
        alt.X("lower:Q", title=""), alt.X2("upper:Q"), opacity=FAINT
    )
    points = base.mark_point(filled=True, size=70).encode(x, _verdict(bests), opacity=FAINT)
    return moves(spread + points, legend="measurement")


def _verdict(rows: pd.DataFrame) -> alt.Shape:
    shown = [verdict for verdict in VERDICTS.domain if verdict in set(rows.verdict)]
    legend = alt.Legend(orient="top", symbolFillColor=RULE, symbolStrokeColor=RULE, values=shown)
    return alt.Shape("verdict:N", title="Verdict", scale=VERDICTS, legend=legend)


def _time_axis(us: pd.Series) -> alt.Axis:
    axis = log_axis(us)
    axis.labelExpr = TIME
    return axis


def _batch_size() -> alt.X:
    return alt.X(
        "batch_size:O", title="Images a call", axis=alt.Axis(labelAngle=0, grid=False, format=",d")
    )
