"""How values are said to people: names of what tables keep in short, and the forms of numbers.

Console, pages, report and charts all use it, so that one value reads the same everywhere. Without
pandas, whose import takes 0.5 s.
"""

import math
from collections.abc import Callable, Mapping
from typing import TypeVar

from trainables.thresholds import percent

Value = TypeVar("Value")
UNKNOWN = "–"
MOST_DECIMALS = 4  # of a per cent
NAMES: Mapping[str, str] = {
    # The column stop_reason of trials; `running` where it is null
    "max_epochs": "all epochs",
    "early_stopping": "stopped early",
    "asha": "stopped by ASHA",
    "median": "stopped by the median rule",
    "diverged": "diverged",
    "out_of_memory": "out of memory",
    "error": "failed",
    "interrupted": "interrupted",
    "running": "running",
    # The column status of runs, beside `running` and `interrupted`
    "finished": "finished",
    "failed": "failed",
    # The column phase of runs
    "searching": "searching",
    "confirming": "training finalists with other seeds",
    "evaluating": "measuring accuracy",
    "timing": "measuring speed",
    # What of a pass is timed, and on what
    "end_to_end": "end to end",
    "device": "on the device alone",
    "overlapped": "copies overlapped",
    "bus": "copies alone",
    "cpu": "CPU",
    "cuda": "GPU",
    # The column kind of scores and timings
    "trial": "trained network",
    "untrained": "untrained network",
    "own": "network of your own",
    "matrix": "the pipeline's matrix",
    "pipeline": "pipeline",
    "peer": "the pipeline in other libraries",
    "study": "quoted from the study",
    "floor": "floor",
    "ceiling": "ceiling",
}
"""What people read for a value that a table keeps."""
TIME_UNITS = (("µs", 1e6), ("ms", 1e3))


def named(value: str | None) -> str:
    """Return what people read for a value of a table: `stopped by ASHA` for `asha`.

    A value without a name of its own is returned as it is; null is what still runs.
    """
    return NAMES["running"] if value is None else NAMES.get(value, value)


def state_of_run(status: str, phase: str | None) -> str:
    """Return what a run does: `measuring speed`, or its status where it does nothing any more."""
    return named(phase) if status == "running" and phase is not None else named(status)


def shown(value: Value | None, form: Callable[[Value], str]) -> str:
    """Return a value in a form of this module, or a dash for null and NaN."""
    return UNKNOWN if value is None or value != value else form(value)


def number(value: float) -> str:
    """Return a number with three digits, and from 100 on as a whole one: 3.54, 1,340."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def count(amount: int, unit: str) -> str:
    """Return how many there are: `1 trial`, `1,024 trials`."""
    return f"{amount:,} {unit}" if amount == 1 else f"{amount:,} {unit}s"


def interval(low: float, high: float) -> str:
    """Return the ends of an interval: `[2.16, 2.85]`."""
    return f"[{number(low)}, {number(high)}]"


def percent_with_interval(fraction: float, low: float, high: float) -> str:
    """Return a fraction with its interval: `99.8 % [99.7, 99.9]`.

    It has as many decimals as tell the three apart. The ends are rounded outwards.
    """
    ends = _percent_ends(fraction, low, high, 1)
    for decimals in range(2, MOST_DECIMALS + 1):
        if len(set(ends)) == len({fraction, low, high}):
            break
        ends = _percent_ends(fraction, low, high, decimals)
    value, lower, upper = ends
    return f"{value} % [{lower}, {upper}]"


def percent_with_spread(mean: float, sd: float) -> str:
    """Return a mean of fractions with its standard deviation: `99.1 ± 0.2 %`.

    It has as many decimals as the first digit of the deviation needs.
    """
    decimals = 1
    if 0 < 100 * sd < 0.1:
        decimals = min(MOST_DECIMALS, -math.floor(math.log10(100 * sd)))
    return f"{100 * mean:.{decimals}f} ± {100 * sd:.{decimals}f} %"


def short_time(sec: float) -> str:
    """Return a time with its unit by size: `7.95 µs`, `1.34 ms`, `2.5 s`."""
    for unit, per_sec in TIME_UNITS:
        if float(f"{sec * per_sec:.3g}") < 1000:
            return f"{number(sec * per_sec)} {unit}"
    return f"{number(sec)} s"


def duration(sec: float) -> str:
    """Return seconds as people read them: 90 is 1:30, and 3700 is 1:01:40."""
    minutes, seconds = divmod(round(sec), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def _percent_ends(fraction: float, low: float, high: float, decimals: int) -> tuple[str, str, str]:
    upper = 1 - math.floor((1 - high) * 10 ** (decimals + 2) + 1e-9) / 10 ** (decimals + 2)
    value, lower, upper_text = (
        percent(one, decimals).removesuffix(" %") for one in (fraction, low, upper)
    )
    return value, lower, upper_text
