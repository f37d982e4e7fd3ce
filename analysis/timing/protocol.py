"""The rules of a series: what a turn is, when it counts, when there is a result."""

import math
import statistics
from collections.abc import Sequence

import numpy as np

PROCESSES = 6  # of each subject, one after the other: the fewest whose extremes hold a median
TURNS = 4  # of a process at each batch size, at most, with those of others between them
PASS_SEC = 0.015  # batches that are timed as one: reading the clock costs nothing beside them
STIR_SEC = 0.003  # of untimed work at the start of a turn, since another had the caches
WARM_SEC = 0.03  # of untimed work before a process's first turn at a batch size
FAST = 0.1  # the quantile of turns that tells how fast it is where nothing disturbs
VALID_WITHIN, ROUGH_WITHIN = 0.03, 0.10  # half the interval's width, by the median
MOST_BUSY = 1.1  # of the cores, wanted by the subject and by other work together
TAIL_CALLS = 662  # 99 % sure, two are above the 99 % quantile: MLPerf Inference's early stopping
VALID, ROUGH, INVALID = "valid", "rough", "invalid"
WIDE = "the 95 % interval of its median is"
CONFIDENCE = 0.95


def calls_per_pass(batch_sec: float) -> int:
    """Return how many batches of so many seconds make a pass of about PASS_SEC."""
    return max(1, round(PASS_SEC / batch_sec))


def turns_per_process(batch_sec: float, series_sec: float) -> int:
    """Return how many turns a process has at a batch size, so that a series keeps to its time.

    That is 0 where not even one fits.
    """
    before_sec, turn_sec = _process_sec(batch_sec)
    return min(TURNS, max(0, int((series_sec / PROCESSES - before_sec) / turn_sec)))


def least_series_sec(batch_sec: float) -> float:
    """Return the time of a series with one turn in each of PROCESSES."""
    return PROCESSES * sum(_process_sec(batch_sec))


def _process_sec(batch_sec: float) -> tuple[float, float]:
    """Return what a process needs before its turns and for a pass on the device, and for a turn."""
    pass_sec = max(batch_sec, PASS_SEC)
    return batch_sec + max(batch_sec, WARM_SEC) + pass_sec, max(batch_sec, STIR_SEC) + pass_sec


def threads_of(batch_size: int, threads: int) -> int:
    """Return the CPU threads of a series: single images have one, as in a data loader's worker."""
    return 1 if batch_size == 1 else threads


def is_disturbed(other_load: float, *, threads: int, cores: int) -> bool:
    """Say whether other work took cores that the subject wanted.

    Args:
        other_load: Cores that other work kept busy meanwhile.
        threads: CPU threads that the subject uses.
        cores: Cores that its process may use.
    """
    return threads + other_load > MOST_BUSY * cores


def median_interval(values: Sequence[float] | np.ndarray) -> tuple[float, float]:
    """Return an interval that holds the median with at least 95 % confidence.

    It holds whatever the distribution. From order statistics: the number of values below the median
    is binomial with p = 1/2 (Conover 1999, "Practical Nonparametric Statistics", section 3.2).
    Below six values even the extremes are not enough, and are returned.
    """
    ordered = np.sort(values)
    count = len(ordered)
    tails = np.cumsum([math.comb(count, rank) / 2**count for rank in range(count // 2)])
    below = max(int((tails <= (1 - CONFIDENCE) / 2).sum()) - 1, 0)
    return float(ordered[below]), float(ordered[count - 1 - below])


def spread_within(values: Sequence[float]) -> float:
    """Return half the width of the median's interval, by the median; infinite below PROCESSES.

    Args:
        values: One of each process.
    """
    if len(values) < PROCESSES:
        return math.inf
    low, high = median_interval(values)
    return (high - low) / 2 / statistics.median(values)


def estimate_verdict(values: Sequence[float]) -> str:
    """Return whether a median is valid, rough or invalid, by its interval alone.

    Args:
        values: One of each process.
    """
    return _verdict_within(spread_within(values))


def ratio_interval(ratios: Sequence[float] | np.ndarray) -> tuple[float, float, float]:
    """Return the ratio that processes agree on, and an interval that holds it: estimate, low, high.

    The estimate is Hodges and Lehmann's, of logarithms: the median of the geometric means of all
    pairs, each with itself too. The interval of 95 % is Wilcoxon's, by signed ranks (Hollander,
    Wolfe and Chicken 2014, "Nonparametric Statistical Methods", sections 3.2 and 3.3). It asks for
    noise that is as often up as down, which that of one time by another is; order statistics ask
    for nothing, and need more processes. Below six values the extremes are not enough, and are
    returned.

    Args:
        ratios: One of each process, at least one.
    """
    values = np.asarray(ratios, dtype=float)
    first, second = np.triu_indices(len(values))
    means = np.sort(np.sqrt(values[first] * values[second]))
    ways = np.ones(1)  # in which signed ranks add up to each sum
    for rank in range(1, len(values) + 1):
        apart = np.zeros(rank)
        ways = np.concatenate([ways, apart]) + np.concatenate([apart, ways])
    below = int((np.cumsum(ways) / 2 ** len(values) <= (1 - CONFIDENCE) / 2).sum())
    outside = max(below - 1, 0)
    return float(np.median(means)), float(means[outside]), float(means[-1 - outside])


def ratio_verdict(ratios: Sequence[float] | np.ndarray) -> str:
    """Return whether a ratio is valid, rough or invalid, by its interval alone.

    Args:
        ratios: One of each process.
    """
    if len(ratios) < PROCESSES:
        return INVALID
    estimate, low, high = ratio_interval(ratios)
    return _verdict_within((high - low) / 2 / estimate)


def _verdict_within(within: float) -> str:
    return VALID if within <= VALID_WITHIN else ROUGH if within <= ROUGH_WITHIN else INVALID


def judge(
    values: Sequence[float],
    *,
    other_load: float,
    disturbed: int = 0,
    throttled: bool = False,
    gpu_processes: int = 0,
    gaps: bool = False,
    fault: str = "",
) -> tuple[str, str]:
    """Return the verdict of a series, and its reason with what to change: the first that applies.

    Args:
        values: Seconds of a pass, one of each process whose turn counts.
        other_load: Cores that other work kept busy in the mean, in all turns.
        disturbed: Turns that do not count, since other work took the subject's cores.
        throttled: Whether heat or power lowered a clock.
        gpu_processes: Other processes on the GPU.
        gaps: Whether device times contain waiting for the host.
        fault: Why there is no result at all: another computation, or a process that died.
    """
    if fault:
        return INVALID, fault
    if throttled:
        return (
            INVALID,
            "the processor lowered its clock because of heat or power: let it cool, "
            "and measure again",
        )
    if gpu_processes:
        return (
            INVALID,
            f"{gpu_processes} other processes were on the GPU: stop them, or take another GPU",
        )
    if len(values) < PROCESSES and disturbed:
        return (
            INVALID,
            f"other work took its cores in {disturbed} turns ({other_load:.1f} cores in the "
            f"mean), and only {len(values)} of {PROCESSES} processes have one that counts: end "
            "that work, or give --threads",
        )
    if len(values) < PROCESSES:
        return (
            INVALID,
            f"only {len(values)} of {PROCESSES} processes had a turn in its time: give more "
            "--series-sec",
        )
    within, verdict = spread_within(values), estimate_verdict(values)
    said = f"{WIDE} ± {within:.1%} over {len(values)} processes"
    if verdict == INVALID:
        return INVALID, f"{said}, and ± {ROUGH_WITHIN:.0%} is asked: give more --series-sec"
    if verdict == ROUGH:
        return ROUGH, said
    if gaps:
        return (
            ROUGH,
            "its device times contain gaps: it waits for the GPU itself, or launches too many "
            "kernels a call",
        )
    return VALID, ""
