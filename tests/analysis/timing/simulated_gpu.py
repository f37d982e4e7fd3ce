"""A GPU and a host that are only numbers: launches cost host time, kernels device time."""

from collections import deque
from typing import Any

CYCLES_PER_SEC = 1e9
QUEUE = 1024  # launches that may wait; the next one holds the host up until there is room
LAUNCH_SEC, KERNEL_SEC = 50e-6, 5e-6


class SimulatedGpu:
    """Stands for `torch.cuda`, with the host's clock in `host`."""

    def __init__(self) -> None:
        self.host = 0.0
        self.free_at = 0.0
        """When the device has done all that waits."""
        self.sleeps: list[int] = []
        self.launches = 0
        self._waiting: deque[float] = deque()

    def clock(self) -> float:
        return self.host

    def launch(self, kernel_sec: float = KERNEL_SEC, launch_sec: float = LAUNCH_SEC) -> None:
        self.host += launch_sec
        self.launches += 1
        while self._waiting and self._waiting[0] <= self.host:
            self._waiting.popleft()
        if len(self._waiting) >= QUEUE:
            self.host = max(self.host, self._waiting.popleft())
        self.free_at = max(self.free_at, self.host) + kernel_sec
        self._waiting.append(self.free_at)

    def synchronize(self) -> None:
        self.host = max(self.host, self.free_at)

    def _sleep(self, cycles: int) -> None:
        self.sleeps.append(cycles)
        self.launch(cycles / CYCLES_PER_SEC, launch_sec=0)

    def Event(self, enable_timing: bool = False) -> "SimulatedEvent":  # noqa: N802  # as in torch.cuda
        return SimulatedEvent(self, enable_timing)


class SimulatedEvent:
    """Happens when the device has done what was launched before it was recorded."""

    def __init__(self, gpu: SimulatedGpu, timing: bool) -> None:
        self._gpu, self._timing = gpu, timing
        self.at: Any = None

    def record(self) -> None:
        self.at = max(self._gpu.free_at, self._gpu.host)

    def query(self) -> bool:
        return bool(self.at <= self._gpu.host)

    def synchronize(self) -> None:
        self._gpu.host = max(self._gpu.host, self.at)

    def elapsed_time(self, end: "SimulatedEvent") -> float:
        """Milliseconds, as in torch.cuda.Event; an error as there before both have happened."""
        if not (self._timing and end._timing and self.query() and end.query()):
            raise RuntimeError("device not ready, or events without timing")
        return float(1e3 * (end.at - self.at))
