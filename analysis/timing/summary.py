"""What a person reads at the end: speed, quality beside speed, crossovers, the study's numbers, caveats."""

import json
from collections.abc import Sequence

import pandas as pd

from analysis.console import Console, microseconds, percent
from analysis.tables.files import Row
from analysis.timing import comparison
from analysis.timing.protocol import INVALID, VALID
from trainables.thresholds import STRICT_THRESHOLD, THRESHOLD

MARKS = {"valid": "", "unfinished": "unfinished", "warning": "warning", "invalid": "INVALID"}
PLACES = {"cpu": "this CPU", "cuda": "this GPU"}


def print_all(console: Console, rows: Sequence[Row], cards: Sequence[Row]) -> bool:
    """Print everything about a session's rows and its subjects' cards, one JSON line last; False without any."""
    timings = pd.DataFrame(rows)
    passes = comparison.passes(timings)
    if passes.empty:
        console.line("Nothing was measured.", style="red")
        return False
    series = comparison.summary(passes)
    for device in dict.fromkeys(series.device):
        _speed(console, passes, series, device)
        _quality(console, series, device)
        _crossovers(console, passes, series, device)
    _cards(console, passes, cards)
    _study(console, timings, series)
    _caveats(console, series)
    console.line(json.dumps(as_json(passes, series)))
    return True


def print_speeds(console: Console, rows: Sequence[Row]) -> None:
    """The table of speeds alone, and its caveats."""
    passes = comparison.passes(pd.DataFrame(rows))
    if passes.empty:
        return
    series = comparison.summary(passes)
    for device in dict.fromkeys(series.device):
        _speed(console, passes, series, device)
    _caveats(console, series)


def as_json(passes: pd.DataFrame, series: pd.DataFrame) -> Row:
    """Every series' medians and every network's crossover, for programs."""
    columns = [*comparison.SERIES, "passes", "images", "device_us", "end_to_end_us", "limit_share"]
    columns += ["max_difference", *comparison.QUALITY, "verdict"]
    records = json.loads(series[columns].to_json(orient="records"))
    found = {
        f"{subject} on {device}": comparison.crossover(
            comparison.faster_sizes(passes, series, subject, device)
        )
        for subject, device in comparison.networks(series)
    }
    return {
        "session": int(passes.session.iloc[0]),
        "series": records,
        "crossover_batch_size": found,
    }


def _speed(console: Console, passes: pd.DataFrame, series: pd.DataFrame, device: str) -> None:
    here = series[series.device == device]
    single = comparison.baseline(
        series, "cpu", 1
    )  # what the pipeline is today: image by image, on a CPU
    batched = comparison.baseline(series, device)
    table = [
        [
            one.series.subject,
            "" if one.single_us is None else microseconds(one.single_us),
            microseconds(one.series.end_to_end_us),
            f"{one.series.batch_size:,.0f}",
            microseconds(one.series.device_us),
            "" if one.times_single is None else str(one.times_single),
            "" if one.times_batched is None else f"{one.times_batched.median:.3g}",
            f"{one.series.limit_share:.1%}",
            MARKS[one.series.verdict],
        ]
        for one in comparison.standings(passes, series, device)
    ]
    columns = [
        "single",
        "batched",
        "size",
        "device",
        "× singly [95 %]",
        "× batched",
        "of limit",
        "",
    ]
    console.line()
    console.table(
        f"Speed on {PLACES[device]}, {here.threads.iloc[0]:.0f} threads: µs an image, medians of "
        f"{here.passes.max():.0f} passes, end to end unless it says device",
        ["", *columns],
        table,
    )
    console.line(
        f"single, batched: at batch size 1, and at the best one (size). × singly: times as fast as torchvision image "
        f"by image on a CPU{_standing(single)}. × batched: as torchvision's best batch here{_standing(batched)}. "
        f"of limit: of what bandwidth and matrix rate allow at best."
    )


def _standing(baseline: pd.Series | None) -> str:
    """What a ratio's denominator is, with its verdict where that is not plain valid."""
    if baseline is None:
        return " (not measured)"
    mark = MARKS[baseline.verdict]
    return f" ({baseline.subject}, batch {baseline.batch_size:,}{', ' if mark else ''}{mark})"


def _quality(console: Console, series: pd.DataFrame, device: str) -> None:
    bests = comparison.best(series[series.device == device])
    bests = bests.assign(unbeaten=comparison.pareto(bests)).sort_values("end_to_end_us")
    table = [
        [
            row.subject,
            percent(row.share_95),
            percent(row.share_99),
            f"{row.max_difference:.1e}",
            microseconds(row.end_to_end_us),
            "unbeaten" if row.unbeaten else "",
        ]
        for _, row in bests.dropna(subset=comparison.QUALITY).iterrows()
    ]
    if table:
        console.line()
        columns = ["", f"≥ {THRESHOLD}", f"≥ {STRICT_THRESHOLD}", "differs by", "µs an image", ""]
        console.table(
            f"Quality and speed on {PLACES[device]}; unbeaten: no other is better at both",
            columns,
            table,
        )


def _crossovers(console: Console, passes: pd.DataFrame, series: pd.DataFrame, device: str) -> None:
    if comparison.baseline(series, device) is None:
        return
    console.line()
    for subject, place in comparison.networks(series):
        if place != device:
            continue
        when = comparison.crossover_told(passes, series, subject, device)
        console.line(f"{subject}: faster than torchvision on {PLACES[device]} {when}")


def _cards(console: Console, passes: pd.DataFrame, cards: Sequence[Row]) -> None:
    """What each network is, whoever runs it, and the least time that this machine would need for an image."""
    plain = passes[
        passes.engine.isin(["eager", "factors", "dense matrix"]) & (passes.precision == "float32")
    ]
    limits = (1e6 * plain.limit_sec / plain.images).groupby([plain.subject, plain.device]).min()
    table = [
        [
            card["subject"],
            f"{card['parameters']:,}",
            f"{card['flops_per_image'] / 1e6:.3g}",
            f"{card['weight_bytes'] / 2**10:,.0f}",
            f"{card['receptive_height']} × {card['receptive_width']}",
            ", ".join(
                f"{microseconds(limit)} ({device})"
                for device, limit in limits[card["subject"]].items()
            ),
        ]
        for card in cards
        if card["subject"] in limits.index
    ]
    if table:
        console.line()
        columns = [
            "",
            "parameters",
            "MFLOP an image",
            "weights KiB",
            "sees pixels",
            "limit µs an image",
        ]
        moved = f"{cards[0]['bytes_per_image']:,} bytes an image, read and written"
        console.table(
            f"Networks without running them; beside the weights each moves {moved}", columns, table
        )


def _study(console: Console, timings: pd.DataFrame, series: pd.DataFrame) -> None:
    """The reference study's numbers for 10,000 images, with ours at their best batch."""
    table = []
    for _, row in timings[timings.kind == "study"].iterrows():
        ours = comparison.like_the_study(row, series)
        measured = (
            f"{ours.end_to_end_us * row.images / 1e6:.3f} s" if ours is not None else "not measured"
        )
        table.append([row.subject, row.device, f"{row.end_to_end_sec:.3f} s", measured])
    console.line()
    console.table(
        "10,000 images: the study, and the same here", ["", "device", "study", "here"], table
    )


def _caveats(console: Console, series: pd.DataFrame) -> None:
    cut = series[series.images + series.batch_size <= series.images.max()]
    if len(cut):
        console.line(
            f"{len(cut)} of {len(series)} series went over fewer images a pass, so as not to exceed --series-sec: "
            f"the column `images` says how many"
        )
    counts = series.verdict.value_counts()
    told = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
    console.line(
        f"Verdicts: {told}; a warning is spread over more "
        f"than 10 % of its median; what is invalid is no result (the column `reason` says why)",
        style="" if set(counts.index) == {VALID} else "yellow",
    )
    for reason, rows in series[series.verdict == INVALID].groupby("reason", sort=False):
        names = "; ".join(
            f"{row.subject} at {row.batch_size:,} on {row.device}" for _, row in rows.iterrows()
        )
        console.line(f"  {names}: {reason}", style="yellow")
