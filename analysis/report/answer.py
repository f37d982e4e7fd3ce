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
    """What the run found, in two sentences, with n, interval, floor and ceiling."""
    if not best:
        return "No trial of this run has finished an epoch, so there is nothing to report yet."
    at = [row for row in accuracy if row["threshold"] == THRESHOLD]
    mine = next(
        (row for row in at if row["kind"] == "trial" and row["trial"] == best[0]["trial"]), None
    )
    if mine is None:
        return f"The search is {run['status']}; its best trial has not been measured on the test images yet."
    floor = max((row["share"] for row in at if row["kind"] == "floor"), default=0.0)
    ceiling = max((row["share"] for row in at if row["kind"] == "ceiling"), default=1.0)
    text = (
        f"{with_interval(mine['share'], mine['images'])} of {mine['images']:,} test images reach a cosine similarity "
        f"of {THRESHOLD} to the pipeline's output; the best floor: {percent(floor)}, the ceiling: {percent(ceiling)}."
    )
    if mine["share"] <= floor:
        text += " The network is no better than an output that costs nothing."
    return f"{text} {_speed(tables, best[0]['trial'])}"


def commands(run: Row, storage: str, out: Path) -> str:
    """What to type to get the run, its timings and this report again."""
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
    told = [_on(tables, trial, device) for device in dict.fromkeys(tables.series.device)]
    return " ".join(filter(None, told)) or "Its speed was not compared with torchvision's."


def _on(tables: Tables, trial: int, device: str) -> str:
    """How fast the network itself is, in eager float32 as its accuracy was measured; variants stand in the table."""
    found = comparison.best_series(tables.passes, tables.series, device)
    one = next((one for one in found if one.series.subject == f"trial {trial}"), None)
    if one is None:
        return ""
    batched, single = (
        comparison.baseline(tables.series, device),
        comparison.baseline(tables.series, "cpu", 1),
    )
    parts = []
    if batched is not None and one.times_batched is not None:
        parts.append(
            f"{one.times_batched} times as fast as torchvision's best batch{_doubt(batched)}"
        )
    if single is not None and one.times_single is not None:
        parts.append(
            f"{one.times_single} times as fast as torchvision image by image on a CPU{_doubt(single)}"
        )
    if not parts:
        return ""
    place, batch = DEVICES[device], f"{one.series.batch_size:,}{_doubt(one.series)}"
    return f"On the {place}, at batch {batch}, it is {' and '.join(parts)}."


def _doubt(series: pd.Series) -> str:
    return "" if series.verdict == VALID else f" (verdict: {series.verdict})"
