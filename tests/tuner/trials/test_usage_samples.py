"""What a trial's process takes of its machine: by a clock of its own, without a wait."""

import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from analysis.tables.schema import USAGE_EVERY_SEC
from tests.waiting import until
from trainables.memory import own_mib
from tuner.trials import usage_samples
from tuner.trials.usage_samples import UsageSamples

CPU, GPU = torch.device("cpu"), torch.device("cuda:0")


class Clock:
    """Seconds, and seconds of a processor, that pass when a test says so."""

    def __init__(self) -> None:
        self.now = self.cpu_sec = 0.0
        self.waits: list[float] = []
        self._goes_on = threading.Semaphore(0)

    def pass_by(self, sec: float, cores: float = 1.0) -> None:
        self.now += sec
        self.cpu_sec += sec * cores

    def wait(self, event: "Event", sec: float) -> bool:
        """Wait as `threading.Event.wait`, which is over when the test says `due` or sets it."""
        self.waits.append(sec)
        self._goes_on.acquire()
        return event.is_set()

    def due(self) -> None:
        self._goes_on.release()


class Event(threading.Event):
    clock: Clock

    def wait(self, timeout: float | None = None) -> bool:
        return self.clock.wait(self, timeout or 0.0)

    def set(self) -> None:
        super().set()
        self.clock.due()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    times = SimpleNamespace(monotonic=lambda: clock.now, process_time=lambda: clock.cpu_sec)
    monkeypatch.setattr(usage_samples, "time", times)
    monkeypatch.setattr(Event, "clock", clock, raising=False)
    threads = SimpleNamespace(Event=Event, Thread=threading.Thread)
    monkeypatch.setattr(usage_samples, "threading", threads)
    return clock


@pytest.fixture
def started(clock: Clock) -> Iterator[Callable[..., UsageSamples]]:
    made: list[UsageSamples] = []

    def start(samples: UsageSamples | None = None, device: torch.device = CPU) -> UsageSamples:
        waits = len(clock.waits)
        samples = samples or UsageSamples()
        samples.start(device)
        until(lambda: len(clock.waits) > waits)
        made.append(samples)
        return samples

    yield start
    for samples in made:
        samples.stop()


def sampled(clock: Clock) -> None:
    """Let a sample be taken."""
    waits = len(clock.waits)
    clock.due()
    until(lambda: len(clock.waits) > waits)


def test_a_sample_has_the_cores_since_the_one_before_and_its_age(
    clock: Clock, started: Callable[..., UsageSamples]
) -> None:
    samples = started()
    clock.pass_by(2, cores=1.5)
    sampled(clock)
    clock.pass_by(4, cores=0.25)
    sampled(clock)
    clock.pass_by(1)
    first, second = samples.take()
    assert (first["age_sec"], first["cpu_cores"]) == (5, 1.5)
    assert (second["age_sec"], second["cpu_cores"]) == (1, 0.25)
    assert first["memory_mib"] == pytest.approx(own_mib(), rel=0.5)
    assert (first["gpu_used"], first["gpu_memory_mib"]) == (None, None)
    assert samples.take() == []
    assert clock.waits == [USAGE_EVERY_SEC] * 3


def test_trials_that_are_shorter_than_that_have_a_sample_now_and_then(
    clock: Clock, started: Callable[..., UsageSamples]
) -> None:
    samples = started()
    for _ in range(3):
        clock.pass_by(0.5)
        samples.stop()
        clock.pass_by(60)  # between trials no time counts
        started(samples)
    assert clock.waits == [2.0, 1.5, 1.0, 0.5]
    clock.pass_by(0.5, cores=2.0)
    sampled(clock)
    assert [one["cpu_cores"] for one in samples.take()] == [2.0]


def test_what_no_report_took_is_not_the_next_trial_s(
    clock: Clock, started: Callable[..., UsageSamples]
) -> None:
    samples = started()
    clock.pass_by(2)
    sampled(clock)
    samples.stop()
    started(samples)
    assert samples.take() == []


def test_a_gpu_says_how_busy_it_was_and_what_the_trial_holds_of_it(
    clock: Clock, started: Callable[..., UsageSamples], monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Any] = []

    def gpu() -> Any:
        made.append(SimpleNamespace(used=lambda: 0.75))
        return made[-1]

    monkeypatch.setattr(usage_samples, "Gpu", gpu)
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 3 * 2**20)
    samples = started(device=GPU)
    clock.pass_by(2)
    sampled(clock)
    (sample,) = samples.take()
    assert (sample["gpu_used"], sample["gpu_memory_mib"]) == (0.75, 3.0)
    samples.stop()
    started(samples, GPU)
    assert len(made) == 1, "to ask NVML for the first time takes a while"


def test_a_process_that_never_trained_has_nothing_to_stop() -> None:
    samples = UsageSamples()
    samples.stop()
    assert samples.take() == []
