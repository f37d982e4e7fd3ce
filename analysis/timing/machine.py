"""What the machine does beside the measurement: other work, clocks, heat, power."""

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import torch

from trainables.cores import cores as cores

IDLE = ("idle", "iowait", "guest", "guest_nice")  # guest time is counted in user time already
THROTTLE_COUNTERS = "devices/system/cpu/cpu*/thermal_throttle/*_throttle_count"


@dataclass(frozen=True)
class Reading:
    """Counters of one moment; two of them show what happened in between.

    Attributes:
        busy_sec: Of all cores that this process may use, with work for other virtual machines where
            the host says so.
    """

    at: float
    busy_sec: float
    own_sec: float
    throttles: int


def read() -> Reading:
    """Return this moment's counters."""
    everywhere = psutil.cpu_times(percpu=True)
    mine = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(len(everywhere))
    times = [core._asdict() for number, core in enumerate(everywhere) if number in mine]
    own = psutil.Process().cpu_times()
    return Reading(
        at=time.monotonic(),
        busy_sec=sum(sec for core in times for name, sec in core.items() if name not in IDLE),
        own_sec=own.user + own.system,
        throttles=sum(int(path.read_text()) for path in Path("/sys").glob(THROTTLE_COUNTERS)),
    )


def other_load(before: Reading, after: Reading, subjects_sec: float) -> float:
    """Return the cores that others kept busy between two readings of this process.

    The system counts in ticks of 10 ms, so that it is rough over a short span, and cut off at zero.

    Args:
        before: A reading.
        after: A later one.
        subjects_sec: Core-seconds that the timed processes took meanwhile, who are no others.
    """
    own_sec = after.own_sec - before.own_sec
    others_sec = after.busy_sec - before.busy_sec - own_sec - subjects_sec
    return max(0.0, others_sec / (after.at - before.at))


def clock_mhz() -> float | None:
    """Return the processor's clock now, or None where the system keeps it to itself."""
    try:
        frequency = psutil.cpu_freq()
    except (OSError, NotImplementedError):  # macOS and containers
        return None
    return float(frequency.current) if frequency else None


class CpuEnergy:
    """What the processors' own counters say, where the system lets a person read them.

    Linux keeps them in /sys/class/powercap, for the administrator alone on most machines.
    """

    def energy_j(self) -> float | None:
        """Energy that all processor packages drew since some moment; None where it is not told.

        The counters begin anew every few hours. Then a difference is negative.
        """
        packages = sorted(Path("/sys/class/powercap").glob("*-rapl:?"))
        try:
            return sum(int((one / "energy_uj").read_text()) for one in packages) / 1e6 or None
        except OSError:
            return None


class Gpu:
    """What NVML says of the GPU that PyTorch uses; None where NVML is not there."""

    def __init__(self) -> None:
        try:
            import pynvml

            pynvml.nvmlInit()
            self._handle = pynvml.nvmlDeviceGetHandleByUUID(
                f"GPU-{torch.cuda.get_device_properties(0).uuid}"
            )
            self._nvml: Any = pynvml
        # No package, no driver library, a MIG slice: nothing to say, nothing to stop for
        except Exception:
            self._nvml = None

    def energy_j(self) -> float | None:
        """Energy drawn since the driver was loaded."""
        millijoules = self._ask("nvmlDeviceGetTotalEnergyConsumption")
        return None if millijoules is None else millijoules / 1e3

    def clock_mhz(self) -> float | None:
        """Clock of the multiprocessors."""
        clock = self._ask("nvmlDeviceGetClockInfo", 1)  # NVML_CLOCK_SM
        return None if clock is None else float(clock)

    def used(self) -> float | None:
        """Fraction of the time just before, at most a second, in which it computed something."""
        rates = self._ask("nvmlDeviceGetUtilizationRates")
        return None if rates is None else rates.gpu / 100

    def driver(self) -> str | None:
        """Version of NVIDIA's driver."""
        if self._nvml is None:
            return None
        version: str = self._nvml.nvmlSystemGetDriverVersion()
        return version

    def throttled(self) -> bool:
        """Say whether heat or a power brake lowers the clock now.

        A power cap alone is how the card works.
        """
        reasons = self._ask("nvmlDeviceGetCurrentClocksEventReasons") or 0
        # Hardware, software heat, hardware heat, power brake
        return bool(reasons & (0x8 | 0x20 | 0x40 | 0x80))

    def processes(self) -> int:
        """Count the processes that compute on it.

        Only counted, since inside a container their numbers are another's.
        """
        return len(self._ask("nvmlDeviceGetComputeRunningProcesses") or [])

    def _ask(self, function: str, *arguments: object) -> Any:
        if self._nvml is None:
            return None
        try:
            return getattr(self._nvml, function)(self._handle, *arguments)
        except (AttributeError, self._nvml.NVMLError):
            return None
