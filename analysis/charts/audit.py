"""The chart of an audit: what each scheduler spends, and what it loses."""

import altair as alt
import pandas as pd

from analysis.audit.findings import MEDIAN, NONE, ORACLE, PROMOTING, STOPPING
from analysis.charts.style import (
    HEIGHT,
    PALETTE,
    RULE,
    counts,
    fractions,
    words,
)

KINDS = [STOPPING, PROMOTING, MEDIAN, ORACLE, NONE]


def regrets(findings: pd.DataFrame, most_regret: float) -> alt.LayerChart:
    """Draw the mean regret of each scheduler over the epochs that it spends.

    Args:
        findings: A row a scheduler: `kind`, `settings` as they are written beside the mark, and
            the fields of a `Finding`.
        most_regret: Where the rule is drawn, below which a scheduler is recommended.
    """
    x = alt.X(
        "epochs:Q",
        title="Epochs, of those of training in full",
        scale=alt.Scale(domain=[0, 1]),
        axis=alt.Axis(format="%", tickCount=5),
    )
    y = alt.Y(
        "regret:Q",
        title="Regret, mean over the orders",
        # A root, since logarithms have no place for a regret of 0
        scale=alt.Scale(type="sqrt", zero=True),
        axis=alt.Axis(format=".2~%", tickCount=6),
    )
    colour = alt.Color(
        "kind:N",
        title=None,
        scale=alt.Scale(domain=KINDS, range=PALETTE[: len(KINDS)]),
        legend=alt.Legend(symbolOpacity=1),
    )
    base = alt.Chart(findings, height=HEIGHT)
    points = base.mark_point(filled=True, size=60, opacity=0.9).encode(
        x,
        y,
        colour,
        alt.Shape("kind:N", title=None, scale=alt.Scale(domain=KINDS)),
        tooltip=[
            *words("kind", "settings"),
            *fractions("epochs", "regret", "worst_regret"),
            *counts("lost", "orders"),
        ],
    )
    # Upwards, since marks without regret stand close beside each other
    labels = base.mark_text(align="left", angle=270, dx=7, fontSize=9).encode(
        x, y, colour, text=alt.Text("settings:N")
    )
    rule = (
        alt.Chart(pd.DataFrame({"regret": [most_regret]}))
        .mark_rule(strokeDash=[4, 4], color=RULE)
        .encode(alt.Y("regret:Q"))
    )
    return rule + points + labels
