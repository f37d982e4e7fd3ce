"""The first sentences of a report, and the commands that make it again."""

from pathlib import Path

import pandas as pd

from analysis.charts.views import DEVICES
from analysis.commands import command_text
from analysis.console import percent
from analysis.report.facts import with_interval
from analysis.report.figures import Tables
from analysis.tables.files import Row
from analysis.timing import comparison
from analysis.timing.protocol import VALID
from trainables.thresholds import THRESHOLD


def answer(run: Row, accuracy: list[Row], tables: Tables, best: list[Row]) -> str:
    """Say in two sentences what the run found, with n, interval, floor and ceiling.

    Args:
        run: Its row of `runs`.
        accuracy: Its rows of `accuracy`.
        tables: Its tables as data frames.
        best: Its rows of `trials` from best to worst.
    """
    if not best:
        return "No trial of this run has finished an epoch, so there is nothing to report yet."
    trial = best[0]["trial"]
    rows = [row for row in accuracy if row["threshold"] == THRESHOLD]
    shares = {
        kind: [row["share"] for row in rows if row["kind"] == kind] for kind in ("floor", "ceiling")
    }
    mine = [row for row in rows if row["kind"] == "trial" and row["trial"] == trial]
    if not mine:
        return (
            f"The search is {run['status']}; its best trial has not been measured on the test "
            "images yet."
        )
    share, images = mine[0]["share"], mine[0]["images"]
    floor = max(shares["floor"], default=0.0)
    ceiling = max(shares["ceiling"], default=1.0)
    text = (
        f"{with_interval(share, images)} of {images:,} test images reach a cosine similarity of "
        f"{THRESHOLD} to the pipeline's output; the best floor: {percent(floor)}, the ceiling: "
        f"{percent(ceiling)}."
    )
    if share <= floor:
        text += " The network is no better than an output that costs nothing."
    return f"{text} {_speed(tables, trial)}"


def commands(run: Row, storage: str, out: Path) -> str:
    """Return what to type to get the run, its timings and this report again."""
    checkout = [f"git checkout {run['commit']}"] if run["commit"] else []
    name = run["run"]
    return "\n".join(
        [
            *checkout,
            'pip install -c constraints.txt -e ".[dashboard,export,peers]"',
            run["command"],
            command_text("analysis.timing", "--run", name, storage=storage),
            command_text("analysis.report", name, "--out", str(out), storage=storage),
        ]
    )


def _speed(tables: Tables, trial: int) -> str:
    if tables.series.empty:
        return "Its speed has not been measured."
    found = [_on(tables, trial, device) for device in dict.fromkeys(tables.series.device)]
    return " ".join(filter(None, found)) or "Its speed was not compared with torchvision's."


def _on(tables: Tables, trial: int, device: str) -> str:
    """Say how fast the network is in eager float32, as its accuracy was measured."""
    found = comparison.best_series(tables.passes, tables.series, device)
    for one in found:
        if one.series.subject == f"trial {trial}":
            break
    else:
        return ""
    compared = (
        (one.times_batched, device, None, "torchvision's best batch"),
        (one.times_single, "cpu", 1, "torchvision image by image on a CPU"),
    )
    parts = []
    for ratio, where, size, what in compared:
        other = comparison.baseline(tables.series, where, size)
        if other is not None:
            parts.append(f"{ratio} times as fast as {what}{_doubt(other)}")
    if not parts:
        return ""
    batch = f"{one.series.batch_size:,}{_doubt(one.series)}"
    return f"On the {DEVICES[device]}, at batch {batch}, it is {' and '.join(parts)}."


def _doubt(series: pd.Series) -> str:
    return "" if series.verdict == VALID else f" (verdict: {series.verdict})"
