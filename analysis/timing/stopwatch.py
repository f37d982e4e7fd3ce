"""Two stopwatches: one reads the host's clock, the other lets a GPU time itself."""

import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

Batch = TypeVar("Batch")

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
        """Take a clock.

        Args:
            clock: Returns the seconds now.
            synchronize: Waits for a device that works by itself.
        """
        self._clock = clock
        self._synchronize = synchronize

    def seconds(self, run: Callable[[Batch], object], batches: Sequence[Batch]) -> float:
        """Seconds of a pass."""
        self._synchronize()
        start = self._clock()
        for batch in batches:
            run(batch)
        self._synchronize()
        return self._clock() - start

    def each(self, run: Callable[[Batch], object], batches: Sequence[Batch]) -> list[float]:
        """Seconds of every call, each from its start to the device's end."""
        found = []
        self._synchronize()
        start = self._clock()
        for batch in batches:
            run(batch)
            self._synchronize()
            end = self._clock()
            found.append(end - start)
            start = end
        return found


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

    def seconds(self, run: Callable[[Batch], object], batches: Sequence[Batch]) -> float:
        """Seconds of a pass."""
        self._lead = self._lead or FIRST_LEAD
        self.gaps = False
        blocks = [
            batches[start : start + CALLS_A_BLOCK]
            for start in range(0, len(batches), CALLS_A_BLOCK)
        ]
        return sum(self._block(run, block) for block in blocks)

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
