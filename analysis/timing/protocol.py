"""The rules of a series: how long to warm up, images per pass, when a result is valid."""

import statistics
from collections.abc import Callable, Sequence

PASSES = 30
SERIES_SEC = 20.0
AGREEING, AGREEMENT = 3, 0.05  # passes in a row that differ by less than this fraction: warm
MOST_WARM_UPS = 10
WARNING_IQR, INVALID_IQR = 0.10, 0.25  # of the median, as torch.utils.benchmark has them
MOST_BUSY = 1.1  # of the cores, wanted by the subject and by other work together
VALID, WARNING, INVALID = "valid", "warning", "invalid"


def warm_up(time_pass: Callable[[], float]) -> tuple[int, bool]:
    """Run passes until the last AGREEING ones agree, at most MOST_WARM_UPS.

    Args:
        time_pass: Runs one pass and returns its seconds.

    Returns:
        How many passes there were, and whether their times had settled.
    """
    times: list[float] = []
    while len(times) < MOST_WARM_UPS:
        times.append(time_pass())
        last = times[-AGREEING:]
        if len(last) == AGREEING and max(last) - min(last) <= AGREEMENT * statistics.median(last):
            return len(times), True
    return len(times), False


def images_per_pass(images: int, batch_size: int, batch_sec: float, limit_sec: float) -> int:
    """Return the images of as many whole batches as fit into `limit_sec`, at most all `images`.

    That is 0 where one batch takes longer.
    """
    return batch_size * min(images // batch_size, int(limit_sec / batch_sec))


def judge(
    series: Sequence[Sequence[float]],
    *,
    cores: int,
    threads: int,
    other_load: float,
    throttled: bool = False,
    gpu_processes: int = 0,
    settled: bool = True,
    gaps: bool = False,
    fault: str = "",
) -> tuple[str, str]:
    """Return a verdict, and its reason with what to change: the first rule that applies.

    Args:
        series: The seconds of every pass, once for each kind of time.
        cores: Cores that the process may use.
        threads: CPU threads that the subject uses.
        other_load: Cores that other work kept busy meanwhile, in the mean.
        throttled: Whether heat or power lowered a clock.
        gpu_processes: Other processes on the GPU.
        settled: Whether the last warm-up passes agreed.
        gaps: Whether device times contain waiting for the host.
        fault: Why there is no result at all: another computation, or a process that died.
    """
    spread = max(relative_iqr(times) for times in series)
    rules = (
        (INVALID, fault, fault),
        (
            INVALID,
            throttled,
            "the processor lowered its clock because of heat or power: let it cool, "
            "and measure again",
        ),
        (
            INVALID,
            gpu_processes,
            f"{gpu_processes} other processes were on the GPU: stop them, or take another GPU",
        ),
        (
            INVALID,
            threads + other_load > MOST_BUSY * cores,
            f"other work kept {other_load:.1f} of {cores} cores busy: end it, or give --threads",
        ),
        (
            INVALID,
            spread > INVALID_IQR,
            f"the middle half of the passes spreads over more than {INVALID_IQR:.0%} of the "
            "median: measure again when the machine does nothing else",
        ),
        (
            WARNING,
            spread > WARNING_IQR,
            f"the middle half of the passes spreads over {spread:.0%} of the median",
        ),
        (
            WARNING,
            gaps,
            "its device times contain gaps: it waits for the GPU itself, or launches too many "
            "kernels a call",
        ),
        (
            WARNING,
            not settled,
            f"the last {AGREEING} of {MOST_WARM_UPS} warm-up passes still differed by over "
            f"{AGREEMENT:.0%}",
        ),
    )
    return next(((verdict, reason) for verdict, applies, reason in rules if applies), (VALID, ""))


def relative_iqr(times: Sequence[float]) -> float:
    """Return the interquartile range as a fraction of the median; 0 for a single time."""
    if len(times) < 2:
        return 0.0
    first, middle, third = statistics.quantiles(times, n=4, method="inclusive")
    return (third - first) / middle
