"""Answers from the timings table: medians, ratios with intervals, crossover, Pareto front."""

import math
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from analysis.timing.protocol import (
    FAST,
    INVALID,
    PROCESSES,
    ROUGH,
    VALID,
    WIDE,
    median_interval,
    ratio_interval,
    ratio_verdict,
)
from analysis.timing.subjects import PIPELINE
from analysis.wording import interval, number

UNJUDGED = "unfinished"  # the verdict of a series whose session has not come to its end
SERIES = ["subject", "device", "batch_size"]
PAIRED = [*SERIES, "process", "turn", "measured_at", "end_to_end_us", "disturbed"]
QUALITY = ["share_95", "share_99"]
TIMES = ["device_us", "end_to_end_us"]
COPIES = ["overlapped_us", "bus_us"]
"""On a GPU only: null elsewhere."""
FACTS = [
    *("kind", "model", "trial", "images", "first_call_sec", "max_difference"),
    *QUALITY,
    *("verdict", "reason", "threads", "precision", "engine", "environment"),
    *("calls", "p50_sec", "p90_sec", "p99_sec"),
]
"""Columns that are the same in every turn of a series."""
RESULTS = (VALID, ROUGH)
"""Verdicts of what may be told as a result."""


@dataclass(frozen=True)
class Ratio:
    """How many times as fast, over pairs of processes, and its 95 % interval by `ratio_interval`.

    Attributes:
        median: Of the means of all pairs of ratios, in logarithms.
        pairs: How many there were.
        verdict: Valid, rough or invalid: by the interval, unless it is biased.
        biased: Whether one of the two is invalid for more than a wide interval, or not judged.
    """

    median: float
    low: float
    high: float
    pairs: int
    verdict: str = INVALID
    biased: bool = False

    @property
    def is_result(self) -> bool:
        """Say whether it may be told as a result."""
        return self.verdict in RESULTS

    @property
    def has_interval(self) -> bool:
        """Say whether its interval holds with 95 % confidence, however wide it is."""
        return self.pairs >= PROCESSES and not self.biased

    def __str__(self) -> str:
        return f"{number(self.median)} {interval(self.low, self.high)}"


@dataclass(frozen=True)
class BestSeries:
    """A subject on one device at its best batch size, beside the pipeline.

    Attributes:
        series: Its row of `summary`.
        single_us: µs an image, end to end, at batch size 1; None where that was not measured.
        times_single: Times as fast as the pipeline image by image on a CPU, which is what it is
            today.
        times_batched: Times as fast as the pipeline's best batch on the same device.
    """

    series: pd.Series
    single_us: float | None
    times_single: Ratio | None
    times_batched: Ratio | None


def turns(timings: pd.DataFrame, session: int | None = None) -> pd.DataFrame:
    """Return the measured turns of one session, by default the last.

    They have more columns: TIMES and COPIES, microseconds an image, and `limit_share`, the fraction
    of the least possible time.
    """
    chosen = timings.session.max() if session is None else session
    rows = timings[(timings.session == chosen) & timings.turn.notna()]
    rows = rows.astype({"batch_size": int, "turn": int, "process": int})
    rows["device_us"] = 1e6 * rows.device_sec / rows.images
    rows["end_to_end_us"] = 1e6 * rows.end_to_end_sec / rows.images
    rows["overlapped_us"] = 1e6 * rows.overlapped_sec.astype(float) / rows.images
    rows["bus_us"] = 1e6 * rows.bus_sec.astype(float) / rows.images
    # A GPU's limit knows nothing of the way to it: there it is the device's own time that compares
    rows["limit_share"] = rows.limit_sec / rows.end_to_end_sec.where(
        rows.device == "cpu", rows.device_sec
    )
    return rows


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """Return one row per series of these `turns`: medians, their 95 % intervals, and FACTS.

    Medians and intervals are over the processes, each with the median of its turns that count; a
    series without one that counts has all of them. Intervals are columns like `device_lower_us` and
    `end_to_end_upper_us`. `fast_us` is the 10 % quantile of turns from end to end: what disturbs
    only adds.
    """
    counted = _counted(rows)
    values = [*TIMES, *COPIES, "limit_share", "peak_mib"]
    by_process = counted.groupby([*SERIES, "process"], sort=False)[values].median()
    groups = by_process.groupby(SERIES, sort=False)
    fast = counted.groupby(SERIES, sort=False).end_to_end_us.quantile(FAST)
    more = {"processes": groups.size(), "fast_us": fast}
    for time in TIMES:
        intervals = groups[time].agg(median_interval)
        for place, side in enumerate(("lower", "upper")):
            more[time.replace("_us", f"_{side}_us")] = intervals.map(operator.itemgetter(place))
    facts = rows.groupby(SERIES, sort=False)[FACTS].last().fillna({"verdict": UNJUDGED})
    series = facts.join(groups.median()).join(pd.DataFrame(more))
    return series.reset_index()


def _counted(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the turns that other work did not disturb; of a series without any, all."""
    undisturbed = ~rows.disturbed.astype("boolean").fillna(False).astype(bool)
    any_undisturbed = undisturbed.groupby([rows[name] for name in SERIES]).transform("any")
    return rows[undisturbed | ~any_undisturbed]


def verdicts(series: pd.DataFrame) -> str:
    """Count the verdicts: `6 valid, 3 rough`."""
    return ", ".join(
        f"{count} {verdict}" for verdict, count in series.verdict.value_counts().items()
    )


def processes(series: pd.DataFrame) -> str:
    """Say how many processes each series had: `6 processes`, or `6 to 9 processes`."""
    least, most = series.processes.min(), series.processes.max()
    return f"{most} processes" if least == most else f"{least} to {most} processes"


def best(series: pd.DataFrame) -> pd.DataFrame:
    """Return the `quickest` series of each subject on each device."""
    return (
        series.sort_values("end_to_end_us", kind="stable")
        .drop_duplicates(["subject", "device"])
        .sort_index()
    )


def baseline(series: pd.DataFrame, device: str, batch_size: int | None = None) -> pd.Series | None:
    """Return the pipeline's fastest series on a device, at one batch size or at its best.

    One that takes single images does so whatever the batch size of the others.
    """
    rows = series[(series.kind == PIPELINE) & (series.device == device)]
    takes_batches = (rows.batch_size > 1).any()
    at_size = batch_size is not None and takes_batches
    return quickest(rows[rows.batch_size == batch_size] if at_size else rows)


def quickest(series: pd.DataFrame) -> pd.Series | None:
    """Return the series with the least time an image, end to end, whatever its verdict.

    None where there is none.
    """
    return None if series.empty else series.sort_values("end_to_end_us").iloc[0]


def times_faster(rows: pd.DataFrame, fast: pd.Series, slow: pd.Series) -> Ratio:
    """Divide the time an image of `slow` by that of `fast`, end to end, process by process.

    Each turn of `fast` is paired with that turn of `slow` in the same round which is nearest to it
    in time, since the machine itself drifts. NaN where there is no such pair. It is a result by its
    own interval, unless one of the two is biased, or not judged.
    """
    rows = rows[PAIRED]  # a tenth of the columns, which are copied several times here
    sides = [_of(rows, one) for one in (slow, fast)]
    ratios = _paired(*map(_counted, sides)).to_numpy()
    if not len(ratios):
        return Ratio(math.nan, math.nan, math.nan, 0)
    biased = any(_may_be_biased(one) for one in (slow, fast))
    return Ratio(
        *ratio_interval(ratios),
        len(ratios),
        INVALID if biased else ratio_verdict(ratios),
        biased,
    )


def _of(rows: pd.DataFrame, series: pd.Series) -> pd.DataFrame:
    """Return the turns of a series."""
    here = (rows.subject == series.subject) & (rows.device == series.device)
    found: pd.DataFrame = rows[here & (rows.batch_size == series.batch_size)]
    return found


def _may_be_biased(series: pd.Series) -> bool:
    """Say whether it is invalid for more than a wide interval, which a ratio need not have.

    What drifts hits both sides of a ratio alike.
    """
    if series.verdict == INVALID:
        return WIDE not in series.reason
    return bool(series.verdict == UNJUDGED)


def _paired(slow: pd.DataFrame, fast: pd.DataFrame) -> pd.Series:
    """Return the ratios of turns that are nearest to each other, by process the median."""
    pairs = fast.merge(slow, on="process", suffixes=("", "_slow"))
    apart = (pairs.measured_at - pairs.measured_at_slow).abs()
    nearest = pairs.loc[apart.groupby(pairs.turn).idxmin()]
    ratios = nearest.end_to_end_us_slow / nearest.end_to_end_us
    return ratios.groupby(nearest.process).median()


def best_series(rows: pd.DataFrame, series: pd.DataFrame, device: str) -> list[BestSeries]:
    """Return every subject of a device at its best batch size, the fastest first.

    Args:
        rows: The `turns` of a session.
        series: Their `summary`.
        device: `cpu` or `cuda`.
    """
    here = series[series.device == device]
    references = baseline(series, "cpu", 1), baseline(series, device)
    found = []
    for _, row in best(here).sort_values("end_to_end_us").iterrows():
        alone = here.end_to_end_us[(here.subject == row.subject) & (here.batch_size == 1)]
        ratios = [one if one is None else times_faster(rows, row, one) for one in references]
        found.append(BestSeries(row, float(alone.iloc[0]) if len(alone) else None, *ratios))
    return found


def like_the_study(row: pd.Series, series: pd.DataFrame) -> pd.Series | None:
    """Return the series that measures what a row of the study's states, or None."""
    if pd.isna(row.model):
        return baseline(series, row.device, 1)
    same = series[(series.model == row.model) & (series.device == row.device)]
    return quickest(same[(same.engine == "eager") & (same.precision == "float32")])


def faster_sizes(
    rows: pd.DataFrame, series: pd.DataFrame, subject: str, device: str
) -> dict[int, bool | None]:
    """Say whether `subject` is faster than the pipeline, by batch size at which both were measured.

    Faster means that the whole interval of the ratio lies above 1, however wide it is. None where
    that can't be said. The sizes ascend.
    """
    own = series[(series.subject == subject) & (series.device == device)].sort_values("batch_size")
    found: dict[int, bool | None] = {}
    for _, one in own.iterrows():
        other = baseline(series, device, one.batch_size)
        if other is not None:
            ratio = times_faster(rows, one, other)
            is_open = not (ratio.is_result or ratio.low > 1 or ratio.high < 1)
            known = ratio.has_interval and not is_open
            found[int(one.batch_size)] = ratio.low > 1 if known else None
    return found


def crossover(faster: Mapping[int, bool | None]) -> int | None:
    """Return the batch size from which on a subject is faster at all larger ones.

    None where there is none, or where that of the largest is unknown.
    """
    found = None
    for size in sorted(faster, reverse=True):
        if not faster[size]:
            break
        found = size
    return found


def networks(series: pd.DataFrame, device: str) -> list[str]:
    """Name everything on a device that could replace the pipeline."""
    here = series[series.device == device]
    return sorted(set(here.subject[here.kind.isin(["matrix", "trial", "untrained", "own"])]))


def crossover_text(rows: pd.DataFrame, series: pd.DataFrame, subject: str, device: str) -> str:
    """Say at which batch sizes a subject is faster than the pipeline, and where that is unknown."""
    return _when(faster_sizes(rows, series, subject, device))


def _when(faster: Mapping[int, bool | None]) -> str:
    if not faster:
        return "unknown: no batch size at which both were measured"
    known = {size: is_faster for size, is_faster in faster.items() if is_faster is not None}
    unknown = [size for size in faster if size not in known]
    if not known:
        return "unknown: no valid timing"
    if unknown:
        return f"{_when_known(known)}; unknown {_at(unknown)}"
    return "at every batch size" if len(known) > 1 and all(known.values()) else _when_known(known)


def _when_known(faster: Mapping[int, bool]) -> str:
    sizes = [size for size, is_faster in faster.items() if is_faster]
    if not sizes:
        return "never"
    if len(faster) == 1:
        return _at(sizes)
    if crossover(faster) == sizes[0]:
        return f"from batch {sizes[0]:,} on"
    return f"{_at(sizes)} only"


def _at(sizes: Sequence[int]) -> str:
    return f"at batch {', '.join(f'{size:,}' for size in sizes)}"


def last_session(timings: pd.DataFrame) -> int | None:
    """Return the newest session that was measured to its end, else the newest with a turn.

    None without any.
    """
    measured = timings[timings.turn.notna()]
    judged = measured[measured.verdict.notna()]
    sessions = (judged if len(judged) else measured).session
    return None if sessions.empty else int(sessions.max())


def last_measured(timings: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the `turns` of `last_session` and their `summary`, both empty where there is none."""
    session = last_session(timings)
    if session is None:
        return timings.head(0), pd.DataFrame()
    measured = turns(timings, session)
    return measured, summary(measured)


def pareto(bests: pd.DataFrame) -> pd.Series:
    """Say of the `best` rows which no other on the same device beats in quality and speed: bool.

    One is beaten by another that is at least as good in both accuracies and in time, and better in
    one of them. Without a known quality or with an invalid time there is nothing to say: False.
    """
    comparable = bests[bests.verdict.isin(RESULTS)].dropna(subset=QUALITY)
    unbeaten = []
    for place, row in comparable.iterrows():
        others = comparable[comparable.device == row.device]
        # All three such that less is better
        theirs = others[[*QUALITY, "end_to_end_us"]].astype(float) * [-1, -1, 1]
        own = theirs.loc[place]
        if not ((theirs <= own).all(axis=1) & (theirs < own).any(axis=1)).any():
            unbeaten.append(place)
    return pd.Series(bests.index.isin(unbeaten), bests.index, dtype=bool)
