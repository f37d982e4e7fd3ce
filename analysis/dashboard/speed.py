"""The page Speed: times by batch size, ratios to the pipeline, quality beside speed."""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import pandas as pd

from analysis.charts import speed as charts
from analysis.charts import views
from analysis.charts.labels import machines
from analysis.console import command_text
from analysis.dashboard.blocks import (
    Choices,
    Column,
    Facts,
    Figure,
    Heading,
    Hint,
    Page,
    Remark,
    Table,
    number,
)
from analysis.dashboard.selection import Selection
from analysis.timing import comparison
from trainables.thresholds import STRICT_THRESHOLD, THRESHOLD, percent

MEASURES = {"end_to_end": "end to end", "device": "input on the device"}
MEASUREMENTS = 6  # side by side
COLUMNS = [
    Column("subject", "Subject"),
    number("batch_size", "Batch", ",d"),
    number("us", "µs an image", ".3g"),
    number("lower", "95 % interval from", ".3g"),
    number("upper", "to", ".3g"),
    number("fast_us", "Fast, µs", ".3g"),
    Column("verdict", "Verdict"),
    Column("reason", "Why"),
    number("processes", "Processes", "d"),
    number("images", "Images", ",d"),
    number("limit_share", "Of limit", percent),
    number("peak_mib", "Peak MiB", ",.0f"),
    number("max_difference", "Differs by", ".1e"),
    number("share_95", f"≥ {THRESHOLD}", percent),
    number("share_99", f"≥ {STRICT_THRESHOLD}", percent),
    number("first_call_sec", "First call, s", ".3g"),
    number("calls", "Single calls", ",.0f"),
    number("p50_us", "p50, µs", ".3g"),
    number("p90_us", "p90, µs", ".3g"),
    number("p99_us", "p99, µs", ".3g"),
]


def page(selection: Selection) -> Page:
    """Return the page: one measurement whole, then all of them side by side."""
    return Page("Speed", list(_blocks(selection)))


def _blocks(selection: Selection) -> Iterator[Any]:
    timings = selection.table("timings")
    found = machines(timings)
    if found.empty:
        yield Hint(
            "No timings yet: they are measured when a search ends, or by: "
            + command_text("analysis.timing", "--run", "NAME", storage=selection.store.typed)
        )
        return
    labels = {label: label for label in found.label}
    which, label = Choices.of(selection.address, "Measurement", "measurement", labels)
    times, measure = Choices.of(selection.address, "Time", "time", MEASURES)
    if len(found) > 1:
        yield which
    yield times
    one = found[found.label == label].iloc[0]
    yield Remark(f"Measured {one.label}. Times compare only within one measurement.")
    rows = timings[timings.run == one.run]
    turns = comparison.turns(rows, one.session)
    series = comparison.summary(turns)
    for device in dict.fromkeys(series.device):
        here = series[series.device == device]
        yield from _device(selection, rows, turns, here, device, measure)
    yield from _side_by_side(timings, found)


def _device(
    selection: Selection,
    rows: pd.DataFrame,
    turns: pd.DataFrame,
    series: pd.DataFrame,
    device: str,
    measure: str,
) -> Iterator[Any]:
    name = views.DEVICES[device]
    count = comparison.processes(series)
    yield Heading(name)
    yield Remark(
        f"Verdicts of {len(series)} series: {comparison.verdicts(series)}. What is invalid is "
        "drawn, but no result; the table says why."
    )
    if not series.verdict.isin(comparison.RESULTS).any():
        run = str(rows.run.iloc[0])
        command = command_text("analysis.timing", "--run", run, storage=selection.store.typed)
        yield Hint(f"No valid timing yet: type {command}")
    labels = _labels(rows)
    names = sorted(labels.values())
    measured = _labelled(views.measured(series, measure), labels)
    quoted = views.study_marks(rows, device)
    dashed = "" if quoted.empty else "; dashed: the study's numbers, on its own machine"
    yield Figure(
        f"Time an image, {name}",
        f"Median of {count}; bars: its 95 % interval{dashed}.",
        f"times-{device}",
        partial(charts.times, measured, quoted, names=names),
    )
    ratios = _labelled(views.speedups(turns, series, device), labels)
    if ratios.empty:
        yield Hint("No series of the pipeline in this measurement, so nothing to compare with.")
    else:
        yield Figure(
            "Times as fast as the pipeline",
            f"At the same batch size, by pairs of turns in {count}, 95 % interval.",
            f"speedup-{device}",
            partial(charts.speedup, ratios, names=names),
        )
        crossovers = [
            (labels[subject], comparison.crossover_text(turns, series, subject, device))
            for subject in comparison.networks(series, device)
        ]
        if crossovers:
            yield Remark(
                "Which of two is faster can be known where the interval of their ratio is too wide "
                "for a result, but lies on one side of 1."
            )
            yield Facts("Crossover: when it is faster than the pipeline", crossovers)
    bests = _labelled(views.fronted(series), labels)
    if not bests.empty:
        yield Figure(
            "Quality and speed",
            "At its best batch size; on the line: not beaten at "
            f"≥ {THRESHOLD}, ≥ {STRICT_THRESHOLD} and time.",
            f"pareto-{device}",
            partial(charts.pareto, bests, names=names),
        )
    yield Table(
        f"Every series, {name}",
        "µs an image: median and its 95 % interval; fast: where nothing disturbs, the 10 % "
        "quantile of turns; p50, p90, p99: of single calls. The shares are of the images that were "
        "timed, which may be fewer than Quality's.",
        f"series-{device}",
        _with_calls(measured).sort_values("us"),
        COLUMNS,
        selection.address,
    )


def _labels(rows: pd.DataFrame) -> dict[str, str]:
    """Return what each subject is called: `fc, trial 7`, which begins with its network."""
    subjects = rows.drop_duplicates("subject")
    return {
        str(subject): f"{model}, {subject}" if kind == "trial" else str(subject)
        for subject, kind, model in zip(
            subjects.subject, subjects.kind, subjects.model, strict=True
        )
    }


def _labelled(rows: pd.DataFrame, labels: Mapping[str, str]) -> pd.DataFrame:
    return rows.assign(subject=rows.subject.map(labels).astype(object))


def _with_calls(series: pd.DataFrame) -> pd.DataFrame:
    """Add the quantiles of single calls in µs."""
    quantiles = {f"{name}_us": 1e6 * series[f"{name}_sec"] for name in ("p50", "p90", "p99")}
    return series.assign(**quantiles)


def _side_by_side(timings: pd.DataFrame, found: pd.DataFrame) -> Iterator[Any]:
    if len(found) < 2:
        return
    shown = found.head(MEASUREMENTS)
    drawn = []
    for _, one in shown.iterrows():
        series = comparison.summary(comparison.turns(timings[timings.run == one.run], one.session))
        bests = views.measured(comparison.best(series), "end_to_end")
        # Trial 0 of one run is another network than trial 0 of the next
        drawn.append(
            bests.assign(
                subject=bests.subject.where(bests.kind != "trial", one.run + ", " + bests.subject),
                measurement=one.label,
            )
        )
    which = str(len(found))
    if len(found) > len(shown):
        which = f"the newest {len(shown)} of {len(found)}"
    places = len(set(zip(shown.host, shown.hardware, strict=True)))
    on = f"on {places} different machines or settings" if places > 1 else "on one machine"
    yield Heading("Measurements side by side")
    for device, bests in pd.concat(drawn).groupby("device", sort=False):
        yield Figure(
            f"Best time of each subject, {views.DEVICES[str(device)]}",
            f"{which} measurements, {on}; separate series, never pooled.",
            f"measurements-{device}",
            partial(charts.measurements, bests, names=shown.label),
        )
