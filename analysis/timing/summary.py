"""What a person reads at the end: speed, quality, crossovers, the study's numbers, caveats."""

import json
from collections.abc import Sequence

import pandas as pd

from analysis.console import Console
from analysis.tables.files import Row
from analysis.timing import comparison
from analysis.timing.protocol import INVALID, ROUGH_WITHIN, VALID_WITHIN
from analysis.wording import interval, number
from trainables.thresholds import STRICT_THRESHOLD, THRESHOLD, percent

MARKS = {"valid": "", "unfinished": "unfinished", "rough": "rough", "invalid": "INVALID"}
PLACES = {"cpu": "this CPU", "cuda": "this GPU"}


def print_timings(
    console: Console, rows: Sequence[Row], cards: Sequence[Row] | None = None
) -> bool:
    """Print what a session measured; return False where that is nothing.

    Args:
        console: Where it is printed.
        rows: The session's rows of the table `timings`.
        cards: The rows of the table `cards` for its subjects: then everything is printed, one JSON
            line last. None prints the tables of speeds and their caveats alone.
    """
    timings = pd.DataFrame(rows)
    turns = comparison.turns(timings) if rows else timings
    if turns.empty:
        console.line("Nothing was measured.", style="red")
        return False
    series = comparison.summary(turns)
    for device in dict.fromkeys(series.device):
        _speed(console, turns, series, device)
        if cards is not None:
            _latency(console, series, device)
            _copies(console, series, device)
            _quality(console, series, device)
            _crossovers(console, turns, series, device)
    if cards is not None:
        _cards(console, turns, cards)
        _study(console, timings, series)
    _caveats(console, series)
    if cards is not None:
        console.line(json.dumps(as_json(turns, series)))
    return True


def as_json(turns: pd.DataFrame, series: pd.DataFrame) -> Row:
    """Return every series' medians and every network's crossover, for programs."""
    columns = [*comparison.SERIES, "processes", "images", "device_us", "end_to_end_us"]
    columns += ["end_to_end_lower_us", "end_to_end_upper_us", "fast_us", "limit_share"]
    columns += ["calls", "p50_sec", "p90_sec", "p99_sec", "first_call_sec"]
    columns += ["max_difference", *comparison.QUALITY, "verdict"]
    faster = {
        f"{subject} on {device}": comparison.faster_sizes(turns, series, subject, device)
        for device in sorted(set(series.device))
        for subject in comparison.networks(series, device)
    }
    return {
        "session": int(turns.session.iloc[0]),
        "series": json.loads(series[columns].to_json(orient="records")),
        "crossover_batch_size": {
            name: comparison.crossover(sizes) for name, sizes in sorted(faster.items())
        },
    }


def _speed(console: Console, turns: pd.DataFrame, series: pd.DataFrame, device: str) -> None:
    here = series[series.device == device]
    table = [
        [
            one.series.subject,
            "" if one.single_us is None else number(one.single_us),
            number(one.series.end_to_end_us),
            _within(one.series),
            f"{one.series.batch_size:,.0f}",
            number(one.series.device_us),
            _ratio(one.times_single),
            _ratio(one.times_batched),
            f"{one.series.limit_share:.1%}",
            MARKS[one.series.verdict],
        ]
        for one in comparison.best_series(turns, series, device)
    ]
    console.line()
    console.table(
        f"Speed on {PLACES[device]}, {here.threads.max():.0f} threads: µs an image, medians of "
        f"{comparison.processes(here)}, end to end unless it says device",
        [
            "",
            "single",
            "batched",
            "±",
            "size",
            "device",
            "× singly [95 %]",
            "× batched [95 %]",
            "of limit",
            "",
        ],
        table,
    )
    console.line(
        "single, batched: at batch size 1, and at the best one (size). × singly: times as fast as "
        "the pipeline image by image on a CPU "
        f"{_denominator(comparison.baseline(series, 'cpu', 1))}. × batched: as the pipeline's best "
        f"batch here {_denominator(comparison.baseline(series, device))}. An interval alone "
        "is wider than ± 10 %; –: no valid timing of both. ±: half the 95 % interval of batched. "
        "of limit: of what bandwidth and matrix rate allow at best."
    )


def _ratio(ratio: comparison.Ratio | None) -> str:
    """Return a ratio with its interval, the interval alone where it is wide, or what says none."""
    if ratio is None:
        return ""
    if ratio.is_result:
        return str(ratio)
    return interval(ratio.low, ratio.high) if ratio.has_interval else "–"


def _within(one: pd.Series) -> str:
    """Return half the interval of a median, by the median: ± 2.1 %."""
    half = (one.end_to_end_upper_us - one.end_to_end_lower_us) / 2
    return f"{half / one.end_to_end_us:.1%}"


def _denominator(baseline: pd.Series | None) -> str:
    """Say what a ratio compares with, with its verdict where that is not plain valid."""
    if baseline is None:
        return "(not measured)"
    mark = MARKS[baseline.verdict]
    return f"({baseline.subject}, batch {baseline.batch_size:,}{', ' if mark else ''}{mark})"


def _latency(console: Console, series: pd.DataFrame, device: str) -> None:
    """Print what a service asks: quantiles of single calls, the first one, and images a second."""
    here = series[series.device == device]
    bests = comparison.best(here).set_index("subject").end_to_end_us
    singles = here[(here.batch_size == 1) & here.calls.notna()].sort_values("p50_sec")
    table = [
        [
            row.subject,
            *(
                "" if pd.isna(sec) else number(1e6 * sec)
                for sec in (row.p50_sec, row.p90_sec, row.p99_sec)
            ),
            f"{row.first_call_sec:.2g}",
            f"{1e6 / bests[row.subject]:,.0f}",
        ]
        for _, row in singles.iterrows()
    ]
    if table:
        console.line()
        console.table(
            f"One image a call on {PLACES[device]}: µs from end to end; the first call of all; and "
            "images a second at the best batch size",
            ["", "50 %", "90 %", "99 %", "first, s", "images a second"],
            table,
        )


def _copies(console: Console, series: pd.DataFrame, device: str) -> None:
    """Print how much of the time of the largest batches the way to a GPU and back is."""
    here = series[(series.device == device) & series.bus_us.notna()]
    table = [
        [
            row.subject,
            f"{row.batch_size:,}",
            number(row.end_to_end_us),
            number(row.overlapped_us),
            number(row.bus_us),
            f"{row.bus_us / row.overlapped_us:.0%}",
        ]
        for _, row in here[here.batch_size == here.batch_size.max()].iterrows()
    ]
    if table:
        console.line()
        console.table(
            "The way to the GPU: µs an image, as it comes; with pinned memory and copies beside "
            "the computation; of the copies alone; and how much of it they are",
            ["", "size", "end to end", "overlapped", "bus", "of it the bus"],
            table,
        )


def _quality(console: Console, series: pd.DataFrame, device: str) -> None:
    bests = comparison.best(series[series.device == device])
    bests = bests.assign(unbeaten=comparison.pareto(bests)).sort_values("end_to_end_us")
    table = [
        [
            row.subject,
            percent(row.share_95),
            percent(row.share_99),
            f"{row.max_difference:.1e}",
            number(row.end_to_end_us),
            "unbeaten" if row.unbeaten else "",
        ]
        for _, row in bests.dropna(subset=comparison.QUALITY).iterrows()
    ]
    if table:
        console.line()
        console.table(
            f"Quality and speed on {PLACES[device]}; unbeaten: no other is better at both",
            ["", f"≥ {THRESHOLD}", f"≥ {STRICT_THRESHOLD}", "differs by", "µs an image", ""],
            table,
        )


def _crossovers(console: Console, turns: pd.DataFrame, series: pd.DataFrame, device: str) -> None:
    if comparison.baseline(series, device) is None:
        return
    console.line()
    for subject in comparison.networks(series, device):
        console.line(
            f"{subject}: faster than the pipeline on {PLACES[device]} "
            + comparison.crossover_text(turns, series, subject, device)
        )


def _cards(console: Console, turns: pd.DataFrame, cards: Sequence[Row]) -> None:
    """Print what each network is, and the least time that this machine would need for an image."""
    plain = turns[
        turns.engine.isin(["eager", "factors", "dense matrix"]) & (turns.precision == "float32")
    ]
    limit_us = 1e6 * plain.limit_sec / plain.images
    limits = limit_us.groupby([plain.subject, plain.device]).min()
    table = [
        [
            card["subject"],
            f"{card['parameters']:,}",
            f"{card['flops_per_image'] / 1e6:.3g}",
            f"{card['weight_bytes'] / 2**10:,.0f}",
            _window(card),
            ", ".join(f"{number(us)} ({on})" for on, us in limits[card["subject"]].items()),
        ]
        for card in cards
        if card["subject"] in limits.index
    ]
    if table:
        console.line()
        console.table(
            "Networks without running them; beside the weights each moves "
            f"{cards[0]['bytes_per_image']:,} bytes an image, read and written",
            [
                "",
                "parameters",
                "MFLOP an image",
                "weights KiB",
                "sees pixels",
                "limit µs an image",
            ],
            table,
        )


def _window(card: Row) -> str:
    height, width = card["receptive_height"], card["receptive_width"]
    return "unknown" if height is None else f"{height} × {width}"


def _study(console: Console, timings: pd.DataFrame, series: pd.DataFrame) -> None:
    """Print the reference study's numbers for 10,000 images, with ours at their best batch."""
    table = []
    for _, row in timings[timings.kind == "study"].iterrows():
        ours = comparison.like_the_study(row, series)
        here = "not measured"
        if ours is not None:
            here = f"{ours.end_to_end_us * row.images / 1e6:.3f} s {MARKS[ours.verdict]}".strip()
        table.append([row.subject, row.device, f"{row.end_to_end_sec:.3f} s", here])
    if table:
        console.line()
        console.table(
            "10,000 images: the study, and the same here", ["", "device", "study", "here"], table
        )


def _caveats(console: Console, series: pd.DataFrame) -> None:
    console.line(
        f"Verdicts: {comparison.verdicts(series)}; valid: the 95 % interval of the median is "
        f"within ± {VALID_WITHIN:.0%}; rough: within ± {ROUGH_WITHIN:.0%}; what is invalid is no "
        "result (the column `reason` says why)",
        style="" if INVALID not in set(series.verdict) else "yellow",
    )
    for reason, rows in series[series.verdict == INVALID].groupby("reason", sort=False):
        names = [
            f"{row.subject} at {row.batch_size:,} on {row.device}" for row in rows.itertuples()
        ]
        console.line(f"  {'; '.join(names)}: {reason}", style="yellow")
