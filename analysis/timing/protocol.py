"""The rules of a series: how long to warm up, how many images a pass takes, when a result is valid."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

PASSES = 30
SERIES_SEC = 20.0
AGREEING, AGREEMENT = 3, 0.05  # passes in a row that differ by less than this share: warm
MOST_WARM_UPS = 10
WARNING_IQR, INVALID_IQR = 0.10, 0.25  # shares of the median, as torch.utils.benchmark has them
BUSY_SHARE = 1.1  # of the cores, wanted by the subject and by other work together
VALID, WARNING, INVALID = "valid", "warning", "invalid"


@dataclass(frozen=True)
class WarmUp:
    """Untimed passes before a series, and whether their times had settled."""

    passes: int
    settled: bool


def warm_up(time_pass: Callable[[], float]) -> WarmUp:
    """Run passes until the last AGREEING ones agree, at most MOST_WARM_UPS."""
    times: list[float] = []
    while len(times) < MOST_WARM_UPS:
        times.append(time_pass())
        last = times[-AGREEING:]
        if len(last) == AGREEING and max(last) - min(last) <= AGREEMENT * statistics.median(last):
            return WarmUp(len(times), True)
    return WarmUp(len(times), False)


def images_per_pass(images: int, batch_size: int, batch_sec: float, limit_sec: float) -> int:
    """Whole batches, as many as fit into `limit_sec`, at most all `images`; 0 when one batch takes longer."""
    batches = min(images // batch_size, int(limit_sec / batch_sec))
    return batches * batch_size


@dataclass(frozen=True)
class Conditions:
    """What else happened while a series was measured."""

    cores: int
    threads: int
    other_load: float
    """Cores that other work kept busy, in the mean."""
    throttled: bool = False
    gpu_processes: int = 0
    """Other processes on the GPU."""
    settled: bool = True
    gaps: bool = False
    """Whether device times contain waiting for the host."""
    fault: str = ""
    """Why there is no result at all: another computation, or a process that died."""


def judge(series: Sequence[Sequence[float]], conditions: Conditions) -> tuple[str, str]:
    """A verdict, and the reason with what to change; `series` are the times in seconds, each kind its own."""
    spread = max(relative_iqr(times) for times in series)
    wanted = conditions.threads + conditions.other_load
    if conditions.fault:
        return INVALID, conditions.fault
    if conditions.throttled:
        return (
            INVALID,
            "the processor lowered its clock because of heat or power: let it cool, and measure again",
        )
    if conditions.gpu_processes:
        return (
            INVALID,
            f"{conditions.gpu_processes} other processes were on the GPU: stop them, or take another GPU",
        )
    if wanted > BUSY_SHARE * conditions.cores:
        return INVALID, (
            f"other work kept {conditions.other_load:.1f} of {conditions.cores} cores busy: end it, or give --threads"
        )
    if spread > INVALID_IQR:
        return INVALID, (
            f"the middle half of the passes spreads over more than {INVALID_IQR:.0%} of the median: "
            f"measure again when the machine does nothing else"
        )
    if spread > WARNING_IQR:
        return WARNING, f"the middle half of the passes spreads over {spread:.0%} of the median"
    if conditions.gaps:
        return (
            WARNING,
            "its device times contain gaps: it waits for the GPU itself, or launches too many kernels a call",
        )
    if not conditions.settled:
        return (
            WARNING,
            f"the last {AGREEING} of {MOST_WARM_UPS} warm-up passes still differed by over {AGREEMENT:.0%}",
        )
    return VALID, ""


def relative_iqr(times: Sequence[float]) -> float:
    """Interquartile range as a share of the median; 0 for a single time."""
    if len(times) < 2:
        return 0.0
    first, middle, third = statistics.quantiles(times, n=4, method="inclusive")
    return (third - first) / middle
