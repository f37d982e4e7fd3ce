"""Charts of speed: time by batch size, times as fast as the pipeline, and quality beside speed."""

import altair as alt
import pandas as pd

from analysis.charts.style import (
    HEIGHT,
    RULE,
    colour,
    counts,
    height_with,
    log_axis,
    numbers,
    shares,
    words,
)
from trainables.thresholds import THRESHOLD

VERDICTS = alt.Scale(
    domain=["valid", "warning", "invalid", "unfinished"],
    range=["circle", "diamond", "cross", "square"],
)
VERDICT_LEGEND = alt.Legend(orient="top", symbolFillColor="#4b5563")
VERDICT = alt.Shape("verdict:N", scale=VERDICTS, title="Verdict", legend=VERDICT_LEGEND)
STUDY = "#7c3aed"
SHARE = "datum.value > 1 ? '' : format(datum.value, '.4~%')"  # the margin above 100 % has no label
SERIES = [
    *words("subject", "device", "verdict", "reason"),
    *counts("batch_size", "passes", "images"),
]


DRAWN = [
    "subject",
    "device",
    "batch_size",
    "verdict",
    "reason",
    "passes",
    "images",
    "us",
    "lower",
    "upper",
]
SPREAD = ["subject", "measurement", "batch_size", "verdict", "us", "lower", "upper"]
BEST = ["subject", "kind", "batch_size", "verdict", "us", "share_95", "share_99", "unbeaten"]


def times(series: pd.DataFrame, study: pd.DataFrame) -> alt.LayerChart:
    """Median time an image by batch size; bars span the quartiles of the passes; the study's numbers as rules.

    `series` has `subject`, `batch_size`, `us`, `lower`, `upper` (µs an image) and `verdict`; `study` has `subject`
    and `us`.
    """
    every = pd.concat([series.lower, series.upper, study.us])
    scale = alt.Scale(type="log", domain=[every.min() / 1.2, every.max() * 1.3], nice=False)
    y = alt.Y("us:Q", scale=scale, title="µs an image", axis=log_axis(every))
    subjects = colour(series.subject, None, "subject")
    base = alt.Chart(series[DRAWN], height=height_with(series.subject, HEIGHT + 60)).encode(
        alt.X(
            "batch_size:O",
            title="Images a call",
            axis=alt.Axis(labelAngle=0, grid=False, format=",d"),
        ),
        subjects,
        tooltip=[*SERIES, *numbers("us", "lower", "upper")],
    )
    rules = alt.Chart(study).encode(alt.Y("us:Q", scale=scale))
    names = rules.mark_text(align="right", x="width", dy=-6, fontSize=10, color=STUDY).encode(
        text=alt.Text("subject:N")
    )
    bars = base.mark_rule(strokeWidth=1.5).encode(
        alt.Y("lower:Q", scale=scale, title=""), alt.Y2("upper:Q")
    )
    points = base.mark_point(filled=True, size=60, opacity=1).encode(y, shape=VERDICT)
    return (
        rules.mark_rule(strokeDash=[5, 4], color=STUDY)
        + names
        + base.mark_line(strokeWidth=1, opacity=0.5).encode(y)
        + bars
        + points
    )


def speedup(ratios: pd.DataFrame) -> alt.LayerChart:
    """Times as fast as torchvision at the same batch size, with its 95 % interval; above the rule it is faster.

    `ratios` has `subject`, `batch_size`, `median`, `low` and `high`.
    """
    every = pd.concat([ratios.low, ratios.high, pd.Series([1.0])])
    scale = alt.Scale(type="log", domain=[every.min() / 1.2, every.max() * 1.2], nice=False)
    subjects = colour(ratios.subject, None, "subject")
    base = alt.Chart(ratios, height=height_with(ratios.subject)).encode(
        alt.X(
            "batch_size:O",
            title="Images a call",
            axis=alt.Axis(labelAngle=0, grid=False, format=",d"),
        ),
        subjects,
        tooltip=[
            *words("subject"),
            *counts("batch_size"),
            *numbers("median", "low", "high"),
            *counts("pairs"),
        ],
    )
    y = alt.Y("median:Q", scale=scale, title="Times as fast as torchvision", axis=log_axis(every))
    even = alt.Chart(pd.DataFrame({"median": [1.0]})).mark_rule(color=RULE, strokeDash=[4, 4])
    bars = base.mark_rule(strokeWidth=2).encode(
        alt.Y("low:Q", scale=scale, title=""), alt.Y2("high:Q")
    )
    line, points = (
        base.mark_line(strokeWidth=1.5).encode(y),
        base.mark_point(filled=True, size=45, opacity=1).encode(y),
    )
    return even.encode(alt.Y("median:Q", scale=scale)) + bars + line + points


def pareto(bests: pd.DataFrame) -> alt.LayerChart:
    """Each subject at its best batch size: quality against time; the line joins those that none beats at both.

    `bests` has `subject`, `kind`, `us`, `share_95`, `share_99`, `verdict` and `unbeaten`.
    """
    scale = alt.Scale(type="log", nice=False, padding=24)
    x = alt.X("us:Q", scale=scale, title="µs an image, end to end", axis=log_axis(bests.us))
    y = alt.Y(
        "share_95:Q",
        title=f"Images at cosine ≥ {THRESHOLD}",
        axis=alt.Axis(labelExpr=SHARE),
        scale=alt.Scale(zero=False, padding=14),
    )
    tooltip = [
        *words("subject", "verdict"),
        *counts("batch_size"),
        *numbers("us"),
        *shares("share_95", "share_99"),
    ]
    base = alt.Chart(bests[BEST], height=height_with(bests.kind, HEIGHT + 30)).encode(
        x, y, tooltip=tooltip
    )
    front = alt.Chart(bests.loc[bests.unbeaten, BEST].sort_values("us")).mark_line(
        strokeWidth=1.5, color=RULE
    )
    points = base.mark_point(filled=True, size=70, opacity=0.9).encode(
        colour(bests.kind, "Kind", "kind"), shape=VERDICT
    )
    names = alt.Chart(bests.loc[bests.unbeaten, BEST]).mark_text(
        dy=-12, fontSize=11, color="#374151"
    )
    return (
        front.encode(x, y, order=alt.Order("us:Q"))
        + points
        + names.encode(x, y, text=alt.Text("subject:N"))
    )


def measurements(bests: pd.DataFrame) -> alt.LayerChart:
    """The same subjects in several measurements, each at its best batch size, never joined into one number.

    `bests` has `subject`, `measurement`, `us`, `lower`, `upper` and `verdict`.
    """
    x = alt.X(
        "us:Q",
        scale=alt.Scale(type="log", nice=False, padding=10),
        title="µs an image, end to end",
        axis=log_axis(bests.us),
    )
    base = alt.Chart(
        bests[SPREAD], height=max(120, 16 * bests.subject.nunique() * bests.measurement.nunique())
    ).encode(
        alt.Y(
            "subject:N",
            title=None,
            sort=alt.EncodingSortField("us", op="min"),
            axis=alt.Axis(labelLimit=220),
        ),
        colour(bests.measurement, None, "measurement"),
        yOffset=alt.YOffset("measurement:N"),
        tooltip=[
            *words("measurement", "subject", "verdict"),
            *counts("batch_size"),
            *numbers("us", "lower", "upper"),
        ],
    )
    bars = base.mark_rule(strokeWidth=1.5).encode(alt.X("lower:Q", title=""), alt.X2("upper:Q"))
    return bars + base.mark_point(filled=True, size=50, opacity=1).encode(x, shape=VERDICT)
