"""Charts of speed: time by batch size, times as fast as the pipeline, and quality beside speed."""

import altair as alt
import pandas as pd

from analysis.charts.style import (
    HEIGHT,
    RULE,
    colour,
    counts,
    fractions,
    height_with,
    log_axis,
    logarithmic_ends,
    numbers,
    words,
)
from trainables.thresholds import THRESHOLD

VERDICT = alt.Shape(
    "verdict:N",
    title="Verdict",
    scale=alt.Scale(
        domain=["valid", "rough", "invalid", "unfinished"],
        range=["circle", "diamond", "cross", "square"],
    ),
    legend=alt.Legend(orient="top", symbolFillColor="#4b5563"),
)
STUDY = "#7c3aed"
# The margin above 100 % has no label
UP_TO_ONE = "datum.value > 1 ? '' : format(datum.value, '.4~%')"
DRAWN = ["subject", "batch_size", "verdict", "us", "lower", "upper"]
MORE = ["device", "reason", "processes", "images"]
BEST = ["subject", "kind", "batch_size", "verdict", "us", "share_95", "share_99", "unbeaten"]


def times(series: pd.DataFrame, study: pd.DataFrame) -> alt.LayerChart:
    """Draw the median time an image by batch size; bars span its 95 % interval.

    Args:
        series: `subject`, `batch_size`, `us`, `lower`, `upper` (µs an image), `verdict`, and what
            the tooltip says.
        study: The study's numbers, drawn as rules: `subject` and `us`.
    """
    every = pd.concat([series.lower, series.upper, study.us])
    low, high = logarithmic_ends(every)
    scale = alt.Scale(type="log", domain=[low / 1.2, high * 1.3], nice=False)
    y = alt.Y("us:Q", scale=scale, title="µs an image", axis=log_axis(every))
    base = alt.Chart(
        series[[*DRAWN, *MORE]], height=height_with(series.subject, HEIGHT + 60)
    ).encode(
        _batch_size(),
        colour(series.subject, None, "subject"),
        tooltip=[
            *words("subject", "device", "verdict", "reason"),
            *counts("batch_size", "processes", "images"),
            *numbers("us", "lower", "upper"),
        ],
    )
    rules = alt.Chart(study).encode(alt.Y("us:Q", scale=scale))
    return (
        rules.mark_rule(strokeDash=[5, 4], color=STUDY)
        + rules.mark_text(align="right", x="width", dy=-6, fontSize=10, color=STUDY).encode(
            text=alt.Text("subject:N")
        )
        + base.mark_line(strokeWidth=1, opacity=0.5).encode(y)
        + base.mark_rule(strokeWidth=1.5).encode(
            alt.Y("lower:Q", scale=scale, title=""), alt.Y2("upper:Q")
        )
        + base.mark_point(filled=True, size=60, opacity=1).encode(y, VERDICT)
    )


def speedup(ratios: pd.DataFrame) -> alt.LayerChart:
    """Draw times as fast as the pipeline at the same batch size; above the rule it is faster.

    Args:
        ratios: `subject`, `batch_size`, `median`, `low` and `high` (its 95 % interval), `pairs` and
            `verdict`.
    """
    every = pd.concat([ratios.low, ratios.high, pd.Series([1.0])])
    low, high = logarithmic_ends(every)
    scale = alt.Scale(type="log", domain=[low / 1.2, high * 1.2], nice=False)
    y = alt.Y("median:Q", scale=scale, title="Times as fast as the pipeline", axis=log_axis(every))
    base = alt.Chart(ratios, height=height_with(ratios.subject)).encode(
        _batch_size(),
        colour(ratios.subject, None, "subject"),
        tooltip=[
            *words("subject", "verdict"),
            *counts("batch_size"),
            *numbers("median", "low", "high"),
            *counts("pairs"),
        ],
    )
    return (
        alt.Chart(pd.DataFrame({"median": [1.0]}))
        .mark_rule(color=RULE, strokeDash=[4, 4])
        .encode(alt.Y("median:Q", scale=scale))
        + base.mark_rule(strokeWidth=2).encode(
            alt.Y("low:Q", scale=scale, title=""), alt.Y2("high:Q")
        )
        + base.mark_line(strokeWidth=1.5).encode(y)
        + base.mark_point(filled=True, size=45, opacity=1).encode(y, VERDICT)
    )


def pareto(bests: pd.DataFrame) -> alt.LayerChart:
    """Draw each subject at its best batch size: quality against time.

    A line joins those that none beats at both.

    Args:
        bests: `subject`, `kind`, `batch_size`, `us`, `share_95`, `share_99`, `verdict`, `unbeaten`.
    """
    x = alt.X(
        "us:Q",
        scale=alt.Scale(type="log", nice=False, padding=24),
        title="µs an image, end to end",
        axis=log_axis(bests.us),
    )
    y = alt.Y(
        "share_95:Q",
        title=f"Images at cosine ≥ {THRESHOLD}",
        axis=alt.Axis(labelExpr=UP_TO_ONE),
        scale=alt.Scale(zero=False, padding=14),
    )
    points = (
        alt.Chart(bests[BEST], height=height_with(bests.kind, HEIGHT + 30))
        .mark_point(filled=True, size=70, opacity=0.9)
        .encode(
            x,
            y,
            colour(bests.kind, "Kind", "kind"),
            VERDICT,
            tooltip=[
                *words("subject", "verdict"),
                *counts("batch_size"),
                *numbers("us"),
                *fractions("share_95", "share_99"),
            ],
        )
    )
    front = alt.Chart(bests.loc[bests.unbeaten, BEST].sort_values("us")).encode(x, y)
    return (
        front.mark_line(strokeWidth=1.5, color=RULE).encode(order=alt.Order("us:Q"))
        + points
        + front.mark_text(dy=-12, fontSize=11, color="#374151").encode(text=alt.Text("subject:N"))
    )


def measurements(bests: pd.DataFrame) -> alt.LayerChart:
    """Draw the same subjects in several measurements, which are never joined into one number.

    Args:
        bests: Each subject at its best batch size: `subject`, `measurement`, `batch_size`, `us`,
            `lower`, `upper` and `verdict`.
    """
    base = alt.Chart(
        bests[[*DRAWN, "measurement"]],
        height=max(120, 16 * bests.subject.nunique() * bests.measurement.nunique()),
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
    return base.mark_rule(strokeWidth=1.5).encode(
        alt.X("lower:Q", title=""), alt.X2("upper:Q")
    ) + base.mark_point(filled=True, size=50, opacity=1).encode(
        alt.X(
            "us:Q",
            scale=alt.Scale(type="log", nice=False, padding=10),
            title="µs an image, end to end",
            axis=log_axis(bests.us),
        ),
        VERDICT,
    )


def _batch_size() -> alt.X:
    return alt.X(
        "batch_size:O", title="Images a call", axis=alt.Axis(labelAngle=0, grid=False, format=",d")
    )
