"""Two stopwatches: one reads the host's clock, the other lets a GPU time itself."""

import math
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

Batch = TypeVar("Batch")

TIMER_FRACTION = 0.001  # of what is timed, at most, goes into reading the clock
READINGS = 1000
CALLS_A_BLOCK = 50  # a GPU takes about 1,000 waiting launches; these networks need up to 20 a call
FIRST_LEAD, LONGEST_LEAD = 1_000_000, 256_000_000  # clock cycles: 0.6 ms to 0.2 s on an H200


class HostStopwatch:
    """Wall-clock seconds of a pass over all batches."""

    gaps = False
    """Whether the last pass contains times in which the device waited for the host: never here."""

    def __init__(
        self,
        clock: Callable[[], float] = time.perf_counter,
        synchronize: Callable[[], object] = lambda: None,
    ) -> None:
        """Measure what reading the clock costs.

        Args:
            clock: Returns the seconds now.
            synchronize: Waits for a device that works by itself.
        """
        self._clock = clock
        self._synchronize = synchronize
        start = clock()
        for _ in range(READINGS):
            clock()
        self.reading_sec = (clock() - start) / (READINGS + 1)

    def seconds(
        self, run: Callable[[Batch], object], batches: Sequence[Batch], repeats: int = 1
    ) -> float:
        """Mean seconds of `repeats` passes that are timed as one."""
        self._synchronize()
        start = self._clock()
        for _ in range(repeats):
            for batch in batches:
                run(batch)
        self._synchronize()
        return (self._clock() - start) / repeats

    def repeats(self, pass_sec: float) -> int:
        """Return how many passes to time as one: the clock then costs below TIMER_FRACTION."""
        work_sec = max(pass_sec - self.reading_sec, self.reading_sec)
        return max(1, math.ceil(self.reading_sec / (TIMER_FRACTION * work_sec)))


class CudaStopwatch:
    """Seconds that a GPU works on a pass, by its own events and without the gaps between launches.

    Launches take the host longer than a small kernel takes the GPU. So the GPU is first sent to
    sleep, a block of calls is queued behind that with an event before and after, and the sleep
    grows until the whole block is queued before it ends. A subject that waits for the GPU itself
    can't be queued; its times then contain the gaps.
    """

    def __init__(self, cuda: Any) -> None:
        """`cuda` is the module torch.cuda."""
        self._cuda = cuda
        self._lead = FIRST_LEAD
        self.gaps = False
        """Whether the last pass contains times in which the device waited for the host."""

    def seconds(
        self, run: Callable[[Batch], object], batches: Sequence[Batch], repeats: int = 1
    ) -> float:
        """Mean seconds of `repeats` passes."""
        self._lead = self._lead or FIRST_LEAD
        self.gaps = False
        calls = [batch for _ in range(repeats) for batch in batches]
        blocks = [
            calls[start : start + CALLS_A_BLOCK] for start in range(0, len(calls), CALLS_A_BLOCK)
        ]
        return sum(self._block(run, block) for block in blocks) / repeats

    def _block(self, run: Callable[[Batch], object], block: Sequence[Batch]) -> float:
        while True:
            start, end = (self._cuda.Event(enable_timing=True) for _ in range(2))
            self._cuda.synchronize()
            if self._lead:
                self._cuda._sleep(self._lead)
            start.record()
            for batch in block:
                run(batch)
            had_begun = start.query()
            end.record()
            end.synchronize()
            if not had_begun or not self._lead:
                self.gaps |= had_begun
                return float(start.elapsed_time(end)) / 1e3
            self._lead = self._lead * 4 if self._lead < LONGEST_LEAD else 0
