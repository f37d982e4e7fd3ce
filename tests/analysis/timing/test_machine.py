"""What is known of the machine: from counters that a test sets, and where there are none."""

import os
import sys
import types
from collections import namedtuple
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from analysis.timing import machine
from analysis.timing.machine import CpuEnergy, Gpu, Reading, other_load, read

MIB = 2**20
KINDS = "user nice system idle iowait irq softirq steal guest guest_nice"
Times = namedtuple("Times", KINDS)  # psutil's own kind


def reading(at: float, busy: float, own: float) -> Reading:
    return Reading(at=at, busy_sec=busy, own_sec=own, throttles=0)


def test_other_work_is_what_was_busy_and_neither_with_us_nor_with_the_subjects() -> None:
    before, after = reading(100.0, 1000.0, 50.0), reading(104.0, 1010.0, 54.0)
    assert other_load(before, after, 0.0) == 1.5
    assert other_load(before, after, 4.0) == 0.5


def test_coarse_counters_never_make_less_than_no_work() -> None:
    assert other_load(reading(0.0, 0.0, 0.0), reading(1.0, 0.75, 0.5), 0.5) == 0.0


def test_busy_is_everything_but_waiting_and_guests_are_not_counted_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    core = Times(*(10**place for place in range(10)))
    monkeypatch.setattr(psutil, "cpu_times", lambda percpu: [core])
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})
    assert read().busy_sec == 1 + 10 + 100 + 10**5 + 10**6 + 10**7


def test_only_cores_that_this_process_may_use_are_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    cores = [Times(*[10**number] * 10) for number in range(4)]
    monkeypatch.setattr(psutil, "cpu_times", lambda percpu: cores)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {1, 3})
    assert read().busy_sec == 6 * (10 + 1000)


def test_busy_is_found_where_the_system_knows_fewer_kinds(monkeypatch: pytest.MonkeyPatch) -> None:
    few = namedtuple("few", "user nice system idle")  # macOS
    monkeypatch.setattr(
        psutil, "cpu_times", lambda percpu: [few(1.0, 2.0, 4.0, 8.0), few(0.5, 0.0, 0.0, 8.0)]
    )
    monkeypatch.delattr(os, "sched_getaffinity")
    assert read().busy_sec == 7.5


def test_a_reading_holds_this_processs_own_work() -> None:
    before = read()
    while sum(os.times()[:2]) < before.own_sec + 0.05:
        pass
    after = read()
    assert after.own_sec >= before.own_sec + 0.04
    assert after.at > before.at


def test_throttling_is_the_sum_of_all_cores_counters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for core, counts in {"cpu0": (1, 10), "cpu1": (100, 1000)}.items():
        directory = tmp_path / "sys/devices/system/cpu" / core / "thermal_throttle"
        directory.mkdir(parents=True)
        for name, count in zip(
            ("core_throttle_count", "package_throttle_count"), counts, strict=True
        ):
            (directory / name).write_text(f"{count}\n")
        (directory / "core_throttle_total_time_ms").write_text("7777\n")
    monkeypatch.setattr(machine, "Path", lambda path: tmp_path / path.lstrip("/"))
    assert read().throttles == 1111


def test_where_the_system_counts_no_throttling_there_was_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "Path", lambda path: tmp_path / path.lstrip("/"))
    assert read().throttles == 0


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs a system with CPU affinity")
def test_cores_are_those_that_this_process_may_use() -> None:
    allowed = os.sched_getaffinity(0)
    assert machine.cores() == len(allowed)
    try:
        os.sched_setaffinity(0, {min(allowed)})
        assert machine.cores() == 1
    finally:
        os.sched_setaffinity(0, allowed)


def test_cores_are_the_machines_where_the_system_has_no_affinity(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 7)
    assert machine.cores() == 7


@pytest.mark.parametrize("error", [OSError, NotImplementedError, None])
def test_a_clock_that_the_system_keeps_to_itself_is_none(
    error: type[Exception] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def frequency() -> None:
        if error:
            raise error

    monkeypatch.setattr(psutil, "cpu_freq", frequency)
    assert machine.clock_mhz() is None


def test_the_clock_is_the_current_one_not_the_highest(monkeypatch: pytest.MonkeyPatch) -> None:
    frequency = types.SimpleNamespace(current=2100, min=800.0, max=3500.0)
    monkeypatch.setattr(psutil, "cpu_freq", lambda: frequency)
    assert machine.clock_mhz() == 2100.0


def powercap(directory: Path, **counters: str) -> None:
    for name, microjoules in counters.items():
        (directory / name).mkdir(parents=True)
        (directory / name / "energy_uj").write_text(f"{microjoules}\n")


def test_a_processors_energy_is_the_sum_of_its_packages_and_not_of_their_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "Path", lambda path: tmp_path / path.lstrip("/"))
    assert CpuEnergy().energy_j() is None, "where there are no counters"
    counters = {"intel-rapl:0": "1500000", "intel-rapl:1": "2000000", "intel-rapl:0:0": "7"}
    powercap(tmp_path / "sys/class/powercap", **counters)
    assert CpuEnergy().energy_j() == 3.5


def test_energy_that_the_system_keeps_to_itself_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "Path", lambda path: tmp_path / path.lstrip("/"))
    (tmp_path / "sys/class/powercap/intel-rapl:0").mkdir(parents=True)  # without what is readable
    assert CpuEnergy().energy_j() is None


class Nvml(types.ModuleType):
    """Stands for `pynvml`: a GPU with these answers; one that is an exception is raised."""

    class NVMLError(Exception):
        pass

    def __init__(self, **answers: Any) -> None:
        super().__init__("pynvml")
        self.answers = answers

    def nvmlInit(self) -> None:  # noqa: N802
        pass

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:  # noqa: N802
        return f"handle of {uuid}"

    def nvmlDeviceGetClockInfo(self, handle: str, kind: int) -> int:  # noqa: N802
        return {("handle of GPU-1234", 1): 1980, ("handle of GPU-1234", 2): 2619}[handle, kind]

    def nvmlSystemGetDriverVersion(self) -> str:  # noqa: N802
        return "999.1"

    def __getattr__(self, name: str) -> Any:
        if name not in self.answers:
            raise AttributeError(name)

        def ask(handle: str) -> Any:
            assert handle == "handle of GPU-1234"
            if isinstance(self.answers[name], Exception):
                raise self.answers[name]
            return self.answers[name]

        return ask


@pytest.fixture
def gpu_with(monkeypatch: pytest.MonkeyPatch) -> Any:
    def make(**answers: Any) -> Gpu:
        monkeypatch.setitem(sys.modules, "pynvml", Nvml(**answers))
        monkeypatch.setattr(
            torch.cuda, "get_device_properties", lambda _: types.SimpleNamespace(uuid="1234")
        )
        return Gpu()

    return make


def test_a_gpu_says_how_much_of_the_time_it_computed(gpu_with: Any) -> None:
    rates = types.SimpleNamespace(gpu=25, memory=3)
    assert gpu_with(nvmlDeviceGetUtilizationRates=rates).used() == 0.25
    assert gpu_with().used() is None


def test_the_gpu_that_is_asked_is_the_one_that_pytorch_uses(gpu_with: Any) -> None:
    gpu = gpu_with(
        nvmlDeviceGetTotalEnergyConsumption=1500, nvmlDeviceGetComputeRunningProcesses=["a", "b"]
    )
    assert (gpu.energy_j(), gpu.clock_mhz(), gpu.driver(), gpu.processes()) == (
        1.5,
        1980.0,
        "999.1",
        2,
    )


@pytest.mark.parametrize(
    ("reasons", "throttled"),
    [
        pytest.param(0x0, False, id="none"),
        pytest.param(0x1, False, id="idle"),
        pytest.param(0x2, False, id="application clocks"),
        pytest.param(0x4, False, id="power cap"),
        pytest.param(0x8, True, id="hardware"),
        pytest.param(0x10, False, id="sync boost"),
        pytest.param(0x20, True, id="software heat"),
        pytest.param(0x40, True, id="hardware heat"),
        pytest.param(0x80, True, id="power brake"),
        pytest.param(0x100, False, id="display"),
        pytest.param(0x4 | 0x20, True, id="power cap and heat"),
    ],
)
def test_heat_and_a_power_brake_throttle_and_a_power_cap_does_not(
    gpu_with: Any, reasons: int, throttled: bool
) -> None:
    assert gpu_with(nvmlDeviceGetCurrentClocksEventReasons=reasons).throttled() is throttled


def test_a_question_that_this_gpu_does_not_answer_leaves_the_others(gpu_with: Any) -> None:
    gpu = gpu_with(nvmlDeviceGetTotalEnergyConsumption=Nvml.NVMLError("Not Supported"))
    assert gpu.energy_j() is None
    assert gpu.throttled() is False
    assert gpu.processes() == 0
    assert gpu.driver() == "999.1"


def test_without_nvml_a_gpu_tells_nothing_and_stops_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    gpu = Gpu()
    assert (gpu.energy_j(), gpu.clock_mhz(), gpu.driver()) == (None, None, None)
    assert (gpu.throttled(), gpu.processes()) == (False, 0)
