"""Charts of quality: accuracy by threshold beside floors and ceiling, and the images themselves."""

from collections.abc import Iterable, Sequence

import altair as alt
import pandas as pd

from analysis.charts.style import (
    LONG_DASH,
    RULE,
    colour,
    counts,
    fractions,
    legend_columns,
    moves,
    numbers,
    per,
    words,
)

TILE = 72  # pixels of an image on the page
CAPTION = 18  # pixels below it
LANDSCAPE = 240  # pixels of the height of a figure that is wider than that
DASHES = ([1, 3], [5, 3], [12, 4], [12, 3, 2, 3], [5, 3, 1, 3], [20, 4])
BASELINE = ["subject", "kind", "threshold", "value", "images"]
NETWORK = [
    *("run", "subject", "series", "threshold", "mean", "sd", "low", "high"),
    *("trainings", "images"),
]


def thresholds(
    networks: pd.DataFrame,
    baselines: pd.DataFrame,
    marked: Sequence[float],
    *,
    names: Iterable[str] = (),
) -> alt.LayerChart:
    """Draw the fraction of the test images whose cosine similarity reaches each threshold.

    Args:
        networks: `series`, `threshold`, `mean` and `sd` over trainings with other seeds, `low` and
            `high` (mean ∓ sd), `trainings` and `images`.
        baselines: The floors and the ceiling: `subject`, `kind`, `threshold`, `value` and `images`.
        marked: The thresholds of the runs, for dashed rules.
        names: As `colour` takes them.
    """
    x = alt.X(
        "threshold:O", title="Cosine similarity reached", axis=alt.Axis(labelAngle=0, grid=False)
    )
    y = alt.Y(
        "share:Q",
        title="Share of the test images",
        axis=alt.Axis(format="%"),
        scale=alt.Scale(domain=[0, 1]),
    )
    compared = baselines[BASELINE].rename(columns={"value": "share"})
    compared["name"] = compared.subject + " (" + compared.kind + ")"
    grey = (
        alt.Chart(compared, height=LANDSCAPE)
        .mark_line(color=RULE, strokeWidth=1.5)
        .encode(
            x,
            y,
            alt.StrokeDash(
                "name:N",
                title="For comparison",
                scale=_dashes(compared),
                legend=alt.Legend(
                    orient="top",
                    titleOrient="top",
                    columns=legend_columns(compared.name, symbol=36),
                    labelLimit=300,
                    symbolStrokeColor=RULE,
                    **LONG_DASH,
                ),
            ),
            tooltip=[*words("name"), *fractions("share"), *counts("images")],
        )
    )
    shown = networks[NETWORK].rename(columns={"mean": "share"})
    series = colour(shown.series, "Network", names=names)
    lines = (
        alt.Chart(shown)
        .mark_line(point=alt.OverlayMarkDef(size=40), strokeWidth=2.5)
        .encode(
            x,
            y,
            series,
            detail=per("run", "subject"),
            tooltip=[
                *words("series", "run", "subject"),
                *numbers("threshold"),
                *fractions("share", "sd"),
                *counts("trainings", "images"),
            ],
        )
    )
    spread = (
        alt.Chart(shown).mark_area(opacity=0.2).encode(x, alt.Y("low:Q"), alt.Y2("high:Q"), series)
    )
    rules = (
        alt.Chart(pd.DataFrame({"threshold": sorted(set(marked))}))
        .mark_rule(strokeDash=[4, 4], color=RULE)
        .encode(x)
    )
    return moves(rules + grey + spread + lines, legend="series")


def _dashes(baselines: pd.DataFrame) -> alt.Scale:
    """Return a scale of dashes that can be told apart: floors are dashed, ceilings are solid."""
    kinds = baselines.sort_values("name").drop_duplicates("name").set_index("name").kind
    floors = [name for name, kind in kinds.items() if kind != "ceiling"]
    dashes = {name: DASHES[place % len(DASHES)] for place, name in enumerate(floors)}
    return alt.Scale(
        domain=[*kinds.index], range=[dashes.get(name, [1, 0]) for name in kinds.index]
    )


def images(cells: pd.DataFrame, rows: list[str]) -> alt.LayerChart:
    """Draw a grid of images, one column a test image.

    Args:
        cells: `column` (from 0), `row`, `image` (a data URI), `test_image` (its number) and `note`
            (below the image).
        rows: Values of `row` from top to bottom.
    """
    base = alt.Chart(
        cells,
        width=max(cells.column.nunique(), 1) * (TILE + 8),
        height=len(rows) * (TILE + CAPTION + 8),
    ).encode(
        alt.X("column:O", axis=None),
        alt.Y(
            "row:N",
            sort=rows,
            title=None,
            axis=alt.Axis(domain=False, ticks=False, labelPadding=8, labelLimit=300),
        ),
        tooltip=[*words("row"), *counts("test_image"), *words("note")],
    )
    # Of the size that the images have, labels beside it
    return (
        base.mark_image(width=TILE, height=TILE, smooth=False).encode(url=alt.Url("image:N"))
        + base.mark_text(dy=TILE / 2 + 8, fontSize=11).encode(text=alt.Text("note:N"))
    ).properties(autosize="pad")
