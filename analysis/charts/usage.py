"""Charts of what a run took of its machines over time: cores, memory, GPU."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import altair as alt
import numpy as np
import numpy.typing as npt
import pandas as pd

from analysis.charts.style import PALETTE, moves, time_axis
from analysis.tables.schema import USAGE_EVERY_SEC

STEPS = 200  # at most, over the whole run
PANEL_HEIGHT = 140  # pixels

Numbers = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Panel:
    """One thing that is drawn over time.

    Attributes:
        column: Of `over_time`.
        title: What it is, with its unit.
        shown_as: The format of its values, as d3 takes it.
    """

    column: str
    title: str
    shown_as: str = ".3~g"


PANELS: Mapping[str, Panel] = {
    "cores": Panel("cpu_cores", "Cores"),
    "memory": Panel("memory_gib", "Memory, GiB"),
    "gpu": Panel("gpu_used", "GPU busy", ".0%"),
    "gpu-memory": Panel("gpu_memory_gib", "GPU memory, GiB"),
}


def over_time(samples: pd.DataFrame, started_at: pd.Timestamp) -> pd.DataFrame:
    """Return what all trials together took in each step of time since the start of their run.

    A sample stands for the time since the one before it of its trial.

    Args:
        samples: Rows of the table `usage`, of one run.
        started_at: When that run started.

    Returns:
        Columns `sec`, where a step begins, and those of PANELS: cores and memory summed up over the
        trials, the mean of the GPUs that trials used, null while there was none. The last row is
        the end of the last step, with its values again. None without samples.
    """
    columns = ["sec", *(panel.column for panel in PANELS.values())]
    if samples.empty:
        return pd.DataFrame(columns=columns, dtype=float)
    ordered = samples.sort_values("sampled_at")
    end: Numbers = np.asarray((ordered.sampled_at - started_at).dt.total_seconds(), np.float64)
    since = ordered.groupby("trial").sampled_at.diff().dt.total_seconds()
    # After a break, as before the first, nobody looked
    length = np.asarray(since.where(since < 2 * USAGE_EVERY_SEC, USAGE_EVERY_SEC), np.float64)
    start = np.maximum(end - length, 0.0)
    steps = int(np.clip(end.max() // USAGE_EVERY_SEC, 1, STEPS))
    edges = np.linspace(0, end.max(), steps + 1)

    def total(values: pd.Series) -> Numbers:
        return _means(start, end, values.fillna(0).to_numpy(float), edges)

    with_gpu = total(ordered.gpu_used.notna())
    used = pd.DataFrame(
        {
            "sec": edges[:-1],
            "cpu_cores": total(ordered.cpu_cores),
            "memory_gib": total(ordered.memory_mib) / 1024,
            "gpu_used": total(ordered.gpu_used) / np.where(with_gpu > 0, with_gpu, np.nan),
            "gpu_memory_gib": total(ordered.gpu_memory_mib) / 1024,
        }
    )
    if ordered.gpu_memory_mib.isna().all():
        used["gpu_memory_gib"] = np.nan
    return pd.concat([used, used.tail(1).assign(sec=edges[-1])], ignore_index=True)


def usage(used: pd.DataFrame, panel: Panel) -> alt.Chart:
    """Draw one thing over time.

    Args:
        used: As `over_time` returns it.
        panel: What is drawn; nothing is there to draw where its column is null.
    """
    y = alt.Y(
        f"{panel.column}:Q",
        title=panel.title,
        scale=alt.Scale(zero=True),
        axis=alt.Axis(format=panel.shown_as, tickCount=4),
    )
    chart = (
        alt.Chart(used[["sec", panel.column]], height=PANEL_HEIGHT)
        .mark_area(interpolate="step-after", line={"strokeWidth": 1.5}, opacity=0.3)
        .encode(
            alt.X("sec:Q", axis=time_axis(used.sec.max(), "Since the start of the run")),
            y,
            color=alt.value(PALETTE[0]),
            tooltip=[alt.Tooltip(f"{panel.column}:Q", title=panel.title, format=panel.shown_as)],
        )
    )
    return moves(chart, zoom="x")


def _means(start: Numbers, end: Numbers, values: Numbers, edges: Numbers) -> Numbers:
    """Return the mean between edges of what each value adds from its start to its end."""
    moments = np.concatenate([start, end])
    changes = np.concatenate([values, -values])
    order = np.argsort(moments, kind="stable")
    moments, level = moments[order], np.cumsum(changes[order])
    area = np.concatenate([[0.0], np.cumsum(level[:-1] * np.diff(moments))])
    means: Numbers = np.diff(np.interp(edges, moments, area)) / np.diff(edges)
    return means
