"""What the stopwatches say of a host and a GPU whose times are known: both are simulated."""

from collections.abc import Callable

import pytest

from analysis.timing.stopwatch import LONGEST_LEAD, CudaStopwatch, HostStopwatch
from tests.analysis.timing.simulated_gpu import KERNEL_SEC, LAUNCH_SEC, SimulatedGpu


class Clock:
    """Goes on by `reading_sec` whenever it is read, and by what a test adds."""

    def __init__(self, reading_sec: float = 0.0) -> None:
        self.now = 0.0
        self.reading_sec = reading_sec

    def __call__(self) -> float:
        self.now += self.reading_sec
        return self.now

    def spend(self, sec: float) -> None:
        self.now += sec


def test_a_pass_is_the_sum_of_its_batches() -> None:
    clock = Clock()
    assert HostStopwatch(clock).seconds(clock.spend, [1.0, 2.0, 4.0]) == 7.0


def test_every_batch_runs_once_and_in_order() -> None:
    seen: list[str] = []
    HostStopwatch(Clock()).seconds(seen.append, ["a", "b", "c"])
    assert seen == ["a", "b", "c"]


def test_each_call_is_timed_alone_and_they_make_the_pass() -> None:
    clock = Clock()
    assert HostStopwatch(clock).each(clock.spend, [1.0, 2.0, 4.0]) == [1.0, 2.0, 4.0]


def test_a_call_ends_when_the_device_has_done_it() -> None:
    gpu = SimulatedGpu()
    gpu.launch(kernel_sec=1.0)
    each = HostStopwatch(gpu.clock, gpu.synchronize).each(
        lambda _: gpu.launch(kernel_sec=0.1), range(3)
    )
    assert each == pytest.approx([LAUNCH_SEC + 0.1] * 3)


def test_between_two_calls_the_clock_is_read_once() -> None:
    """A reading belongs to the call before it, so that none is counted twice."""
    clock = Clock(reading_sec=0.5)
    assert HostStopwatch(clock).each(clock.spend, [1.0, 2.0]) == [1.5, 2.5]


def test_the_device_is_waited_for_before_the_clock_starts_and_before_it_stops() -> None:
    log: list[str] = []
    clock = Clock()
    stopwatch = HostStopwatch(lambda: log.append("clock") or clock(), lambda: log.append("wait"))
    stopwatch.seconds(lambda batch: log.append(f"run {batch}"), [1, 2])
    assert log == ["wait", "clock", "run 1", "run 2", "wait", "clock"]


def test_earlier_work_of_the_device_is_not_counted_and_unfinished_work_is() -> None:
    gpu = SimulatedGpu()
    stopwatch = HostStopwatch(gpu.clock, gpu.synchronize)
    gpu.launch(kernel_sec=1.0)
    seconds = stopwatch.seconds(lambda _: gpu.launch(kernel_sec=0.1), range(3))
    assert seconds == pytest.approx(LAUNCH_SEC + 3 * 0.1)


def kernel(gpu: SimulatedGpu) -> Callable[[object], None]:
    return lambda _: gpu.launch()


def test_a_kernel_of_5_us_whose_launch_takes_50_us_is_timed_as_5_us() -> None:
    gpu = SimulatedGpu()
    seconds = CudaStopwatch(gpu).seconds(kernel(gpu), ["batch"])
    assert LAUNCH_SEC == 10 * KERNEL_SEC == 50e-6
    assert seconds == pytest.approx(5e-6)


def test_many_small_kernels_are_timed_without_the_gaps_between_their_launches() -> None:
    gpu = SimulatedGpu()
    assert CudaStopwatch(gpu).seconds(kernel(gpu), range(40)) == pytest.approx(40 * KERNEL_SEC)
    host = HostStopwatch(gpu.clock, gpu.synchronize).seconds(kernel(gpu), range(40))
    assert host == pytest.approx(40 * LAUNCH_SEC + KERNEL_SEC), (
        "what a host's clock makes of the same"
    )


def test_a_long_kernel_is_timed_as_a_short_one_is() -> None:
    gpu = SimulatedGpu()
    assert CudaStopwatch(gpu).seconds(
        lambda _: gpu.launch(kernel_sec=0.02), range(3)
    ) == pytest.approx(0.06)


def test_the_sleep_grows_until_a_block_fits_and_stays_as_long_for_the_next_pass() -> None:
    gpu = SimulatedGpu()
    stopwatch = CudaStopwatch(gpu)
    stopwatch.seconds(kernel(gpu), range(50))
    assert gpu.sleeps == [1_000_000, 4_000_000], "50 launches take 2.5 ms, and a cycle a nanosecond"
    stopwatch.seconds(kernel(gpu), range(50))
    assert gpu.sleeps == [1_000_000, 4_000_000, 4_000_000]


def test_a_pass_is_cut_into_blocks_that_the_devices_queue_takes() -> None:
    gpu = SimulatedGpu()

    def twenty_kernels(_: object) -> None:
        for _ in range(20):
            gpu.launch()

    seconds = CudaStopwatch(gpu).seconds(twenty_kernels, range(130))
    assert seconds == pytest.approx(130 * 20 * KERNEL_SEC)


def test_on_a_gpu_every_batch_runs_once_where_the_first_sleep_is_long_enough() -> None:
    gpu = SimulatedGpu()
    seen: list[int] = []
    CudaStopwatch(gpu).seconds(seen.append, range(120))
    assert seen == [*range(120)]


def synchronising(gpu: SimulatedGpu) -> Callable[[object], None]:
    def run(_: object) -> None:
        gpu.launch()
        gpu.synchronize()

    return run


def test_a_subject_that_waits_for_the_gpu_itself_is_timed_with_its_gaps() -> None:
    gpu = SimulatedGpu()
    seconds = CudaStopwatch(gpu).seconds(synchronising(gpu), range(10))
    assert seconds == pytest.approx(10 * (LAUNCH_SEC + KERNEL_SEC))


def test_a_subject_that_waits_for_the_gpu_itself_is_not_tried_for_ever() -> None:
    gpu = SimulatedGpu()
    stopwatch = CudaStopwatch(gpu)
    stopwatch.seconds(synchronising(gpu), range(10))
    assert gpu.sleeps == [1_000_000, 4_000_000, 16_000_000, 64_000_000, LONGEST_LEAD]
    assert gpu.launches == 5 + 6 * 10
    stopwatch.seconds(synchronising(gpu), range(10))
    assert len(gpu.sleeps) == 2 * 5, (
        "the next pass tries again, since one pause of the host is not for ever"
    )


def test_work_that_the_device_still_had_to_do_is_not_counted() -> None:
    gpu = SimulatedGpu()
    gpu.launch(kernel_sec=0.5)
    assert CudaStopwatch(gpu).seconds(kernel(gpu), range(3)) == pytest.approx(3 * KERNEL_SEC)
    assert gpu.sleeps == [1_000_000]
