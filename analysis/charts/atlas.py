"""The chart of the atlas: pipelines by networks, each cell coloured by its grade."""

import altair as alt
import pandas as pd

from analysis.atlas.cells import said
from analysis.charts.style import GRIDS, words

ROW = 34  # pixels of a pipeline
SMALL = 10.5  # pixels of the letters in a cell
AS_A_FLOOR = "no better than a floor"
FILLS = {
    "exact": "#08519c",
    "good": "#6baed6",
    "rough": "#e0b04a",
    "no": "#a8503f",
    AS_A_FLOOR: "#6b7079",
}
"""From blue to red, which colour-blind readers tell apart too, on a light and on a dark ground.
Grey is what an output that costs nothing does as well."""
INKS = {"exact": "#ffffff", "no": "#ffffff", AS_A_FLOOR: "#ffffff"}
BLACK = "#111111"


def grades(cells: pd.DataFrame) -> alt.LayerChart:
    """Draw a cell for each pipeline and network: its grade by colour, in it share and PSNR.

    Args:
        cells: As `analysis.atlas.cells.as_frame` returns them.
    """
    shown = labelled(cells)
    rows, networks = list(dict.fromkeys(shown.row)), sorted(set(shown.network))
    grades = [word for word in FILLS if word in set(shown.answer)]
    base = alt.Chart(shown, height=ROW * len(rows)).encode(
        alt.X(
            "network:N",
            scale=alt.Scale(domain=networks),
            title=None,
            axis=alt.Axis(orient="top", labelAngle=0, domain=False, ticks=False, grid=False),
        ),
        alt.Y(
            "row:N",
            scale=alt.Scale(domain=rows),
            title=None,
            axis=alt.Axis(domain=False, ticks=False, labelPadding=8, labelLimit=220, grid=False),
        ),
        tooltip=words("row", "kind", "network", "answer", "share", "psnr", "in_batches", "run"),
    )
    tiles = base.mark_rect(stroke=GRIDS["light"], strokeOpacity=0.4, cornerRadius=3).encode(
        alt.Color(
            "answer:N",
            title="Replaces it",
            scale=alt.Scale(domain=grades, range=[FILLS[word] for word in grades]),
        )
    )
    ink = alt.Color("ink:N", scale=None)
    chart = (
        tiles
        + base.mark_text(dy=-6, fontSize=SMALL).encode(text=alt.Text("share:N"), color=ink)
        + base.mark_text(dy=8, fontSize=SMALL).encode(text=alt.Text("psnr:N"), color=ink)
    )
    return chart.resolve_scale(color="independent")


def labelled(cells: pd.DataFrame) -> pd.DataFrame:
    """Return what is drawn of each cell: the name of its row, and its texts."""
    tasks = cells.task.astype(str)
    records = cells.to_dict("records")
    shown = cells.answer.where(cells.no_better_than.isna(), AS_A_FLOOR)
    return pd.DataFrame(
        {
            # Another data set is another question
            "row": tasks if cells.data.nunique() < 2 else tasks + ", " + cells.data,
            **{name: cells[name] for name in ("kind", "network", "run")},
            "answer": shown,
            "share": [_short(said(cell, "share_99")) for cell in records],
            "psnr": [f"{_short(said(cell, 'psnr_db'))} dB" for cell in records],
            "in_batches": [said(cell, "cpu_batched") for cell in records],
            "ink": shown.map(INKS).fillna(BLACK),
        }
    )


def _short(text: str) -> str:
    """Return a value without its interval, which the table has."""
    return text.partition(" [")[0]
