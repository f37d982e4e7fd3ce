"""From rows of the timings table to answers: medians, paired ratios with intervals, crossover, Pareto front."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.timing.protocol import INVALID
from analysis.timing.subjects import TORCHVISION

CONFIDENCE = 0.95
UNJUDGED = "unfinished"  # the verdict of a series whose session has not come to its end
SERIES = ["subject", "device", "batch_size"]
QUALITY = ["share_95", "share_99"]
KEPT = [
    "kind",
    "model",
    "trial",
    "images",
    "warm_up_passes",
    "first_call_sec",
    "max_difference",
    *QUALITY,
]
KEPT += ["verdict", "reason", "threads", "precision", "engine"]


@dataclass(frozen=True)
class Standing:
    """A subject on one device at its best batch size, beside torchvision."""

    series: pd.Series
    """Its row of `summary`."""
    single_us: float | None
    """µs an image, end to end, at batch size 1; None where that was not measured."""
    times_single: "Ratio | None"
    """Times as fast as torchvision image by image on a CPU, which is what the pipeline is today."""
    times_batched: "Ratio | None"
    """Times as fast as torchvision's best batch on the same device."""


@dataclass(frozen=True)
class Ratio:
    """How many times as fast; the median over pairs of passes from the same round, with its interval."""

    median: float
    low: float
    high: float
    pairs: int

    def __str__(self) -> str:
        return f"{self.median:.3g} [{self.low:.3g}, {self.high:.3g}]"


def passes(timings: pd.DataFrame, session: int | None = None) -> pd.DataFrame:
    """The measured passes of one session, by default the last, with `device_us` and `end_to_end_us` an image."""
    chosen = timings.session.max() if session is None else session
    rows = timings[(timings.session == chosen) & timings["pass"].notna()].astype(
        {"batch_size": int, "pass": int}
    )
    rows["device_us"] = 1e6 * rows.device_sec / rows.images
    rows["end_to_end_us"] = 1e6 * rows.end_to_end_sec / rows.images
    # A GPU's limit knows nothing of the way to it, so there it is the device's own time that is compared
    rows["limit_share"] = rows.limit_sec / rows.end_to_end_sec.where(
        rows.device == "cpu", rows.device_sec
    )
    return rows


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """One row per series, medians over its `passes`: times in µs an image, their quartiles, and the verdict."""
    groups = rows.groupby(SERIES, sort=False, dropna=False)
    medians = groups[["device_us", "end_to_end_us", "limit_share", "peak_mib"]].median()
    spread = {
        f"{measure}_{side}_us": groups[f"{measure}_us"].quantile(share)
        for measure in ("device", "end_to_end")
        for side, share in (("lower", 0.25), ("upper", 0.75))
    }
    told = groups[KEPT].last()
    told["verdict"] = told.verdict.fillna(UNJUDGED)
    return medians.join(pd.DataFrame({**spread, "passes": groups.size()})).join(told).reset_index()


def best(series: pd.DataFrame) -> pd.DataFrame:
    """Of each subject on each device, its `quickest` series."""
    found = [quickest(group) for _, group in series.groupby(["subject", "device"], sort=False)]
    return pd.DataFrame([one for one in found if one is not None])


def baseline(series: pd.DataFrame, device: str, batch_size: int | None = None) -> pd.Series | None:
    """The faster torchvision series of a device, at one batch size or at its best."""
    rows = series[series.subject.isin(list(TORCHVISION)) & (series.device == device)]
    if batch_size is not None:
        rows = rows[rows.batch_size == batch_size]
    return quickest(rows)


def quickest(series: pd.DataFrame) -> pd.Series | None:
    """The series with the least time an image, end to end, whatever its verdict; None where there is none."""
    return None if series.empty else series.sort_values("end_to_end_us").iloc[0]


def times_faster(rows: pd.DataFrame, fast: pd.Series, slow: pd.Series) -> Ratio:
    """The time an image of `slow` by that of `fast`, end to end, by passes of the same rounds; NaN without any."""
    first, second = (_by_pass(rows, one) for one in (fast, slow))
    ratios = (second / first).dropna().to_numpy()
    if not len(ratios):
        return Ratio(math.nan, math.nan, math.nan, 0)
    low, high = median_interval(ratios)
    return Ratio(float(np.median(ratios)), low, high, len(ratios))


def median_interval(values: Sequence[float] | np.ndarray) -> tuple[float, float]:
    """An interval that holds the median with at least 95 % confidence, whatever the distribution.

    From order statistics: the number of values below the median is binomial with p = 1/2 (Conover 1999,
    "Practical Nonparametric Statistics", section 3.2). Below six values even the extremes are not enough,
    and are returned.
    """
    ordered = np.sort(values)
    count = len(ordered)
    tail, rank = 0.0, 0
    while rank < count // 2:
        tail += math.comb(count, rank) / 2**count
        if tail > (1 - CONFIDENCE) / 2:
            break
        rank += 1
    below = max(rank - 1, 0)
    return float(ordered[below]), float(ordered[count - 1 - below])


def standings(rows: pd.DataFrame, series: pd.DataFrame, device: str) -> list[Standing]:
    """Every subject of a device at its best batch size, the fastest first."""
    here = series[series.device == device]
    single, batched = baseline(series, "cpu", 1), baseline(series, device)
    found = []
    for _, row in best(here).sort_values("end_to_end_us").iterrows():
        alone = here.end_to_end_us[(here.subject == row.subject) & (here.batch_size == 1)]
        ratios = [
            None if other is None else times_faster(rows, row, other) for other in (single, batched)
        ]
        found.append(Standing(row, float(alone.iloc[0]) if len(alone) else None, *ratios))
    return found


def like_the_study(row: pd.Series, series: pd.DataFrame) -> pd.Series | None:
    """The series that measures what a row of the study's states; None where there is none."""
    if pd.isna(row.model):
        return baseline(series, row.device, 1)
    same = series[
        (series.model == row.model) & (series.device == row.device) & (series.engine == "eager")
    ]
    return quickest(same[same.precision == "float32"])


def faster_sizes(
    rows: pd.DataFrame, series: pd.DataFrame, subject: str, device: str
) -> dict[int, bool]:
    """Whether `subject` is faster than torchvision, for each batch size at which both were measured, ascending.

    Faster means that the whole interval of the ratio lies above 1.
    """
    own = series[(series.subject == subject) & (series.device == device)].sort_values("batch_size")
    pairs = [(one, baseline(series, device, one.batch_size)) for _, one in own.iterrows()]
    return {
        int(one.batch_size): times_faster(rows, one, other).low > 1
        for one, other in pairs
        if other is not None
    }


def crossover(faster: dict[int, bool]) -> int | None:
    """The batch size from which on a subject is faster at all larger ones; None where there is none."""
    found = None
    for size in sorted(faster, reverse=True):
        if not faster[size]:
            break
        found = size
    return found


def networks(series: pd.DataFrame) -> list[tuple[str, str]]:
    """Subject and device of everything that could replace the pipeline."""
    rows = series[series.kind.isin(["matrix", "trial", "untrained", "own"])]
    return sorted(set(zip(rows.subject, rows.device, strict=True)))


def crossover_told(rows: pd.DataFrame, series: pd.DataFrame, subject: str, device: str) -> str:
    """At which batch sizes a subject is faster than torchvision, in words, and whether that is in doubt."""
    faster = faster_sizes(rows, series, subject, device)
    both = series[series.subject.isin([subject, *TORCHVISION]) & (series.device == device)]
    return _when(faster) + (
        " (invalid series among them)" if (both.verdict == INVALID).any() else ""
    )


def _when(faster: dict[int, bool]) -> str:
    sizes = [f"{size:,}" for size, is_faster in faster.items() if is_faster]
    start = crossover(faster)
    if not faster:
        return "unknown: no batch size at which both were measured"
    if not sizes:
        return "never"
    if len(sizes) == len(faster):
        return "at every batch size" if len(sizes) > 1 else f"at batch {sizes[0]}"
    later = start is not None and sum(size >= start for size in faster) == len(sizes)
    return f"from batch {start:,} on" if later else f"at batch {', '.join(sizes)} only"


def last_session(timings: pd.DataFrame) -> int | None:
    """The newest session that was measured to its end, else the newest with a pass; None without any."""
    measured = timings[timings["pass"].notna()]
    judged = measured[measured.verdict.notna()]
    sessions = (judged if len(judged) else measured).session
    return None if sessions.empty else int(sessions.max())


def pareto(bests: pd.DataFrame) -> pd.Series:
    """Of the `best` rows, those that no other on the same device beats in quality and speed: bool.

    One is beaten by another that is at least as good in both shares and in time, and better in one of them.
    Without a known quality or with an invalid time there is nothing to say: False.
    """
    return pd.Series(
        [_unbeaten(row, bests) for _, row in bests.iterrows()], bests.index, dtype=bool
    )


def _unbeaten(row: pd.Series, rows: pd.DataFrame) -> bool:
    if row[QUALITY].isna().any() or row.verdict in (INVALID, UNJUDGED):
        return False
    others = rows[(rows.device == row.device) & ~rows.verdict.isin([INVALID, UNJUDGED])].dropna(
        subset=QUALITY
    )
    as_good = (others[QUALITY] >= row[QUALITY].astype(float)).all(axis=1) & (
        others.end_to_end_us <= row.end_to_end_us
    )
    better = (others[QUALITY] > row[QUALITY].astype(float)).any(axis=1) | (
        others.end_to_end_us < row.end_to_end_us
    )
    return not (as_good & better).any()


def _by_pass(rows: pd.DataFrame, one: pd.Series) -> pd.Series:
    mask = (
        (rows.subject == one.subject)
        & (rows.device == one.device)
        & (rows.batch_size == one.batch_size)
    )
    return pd.Series(
        rows.end_to_end_us[mask].to_numpy(), rows["pass"][mask]
    )  # of two columns, not of all
