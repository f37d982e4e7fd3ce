"""The process of one subject: it builds and checks the subject, and takes its turns."""

import logging
import multiprocessing
import os
import random
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from analysis.timing import limits, machine
from analysis.timing.engines import runner_of
from analysis.timing.overlapped import Bus, Overlapped
from analysis.timing.protocol import STIR_SEC, WARM_SEC, calls_per_pass, threads_of
from analysis.timing.stopwatch import CudaStopwatch, HostStopwatch
from analysis.timing.subjects import Subject
from trainables.errors import UsageError, first_line, in_one_line
from trainables.memory import PeakMemory
from trainables.metrics.cosine import cosine_accuracy, cosine_similarity
from trainables.thresholds import STRICT_THRESHOLD, THRESHOLD

COMPARED, CHECK_BATCH = 1000, 500  # images
DISPLACED_BYTES = 2**20
"""Taken first by each process, a random part of it: where later memory lies is drawn anew, though
the processes begin as copies of one."""
BUS_TRIES = 10
ENERGY_SEC = 0.5  # counters of energy move every few ms, NVML's every few tens
SAME_WITHIN = {"float32": 1e-3, "bfloat16": 0.05}
"""How far a network's variant may be from its eager float32 output, as a share of the range."""


class SubjectError(Exception):
    """A subject could not be built or run; the text says why, in one line."""


@dataclass(frozen=True)
class SubjectCheck:
    """What a subject computes, compared with what it should.

    Attributes:
        share_95: Fraction of images with cosine similarity ≥ THRESHOLD; None where only speed
            counts.
        differs: Why it is another computation; empty if it is the same, or where differing is its
            nature.
    """

    max_difference: float
    share_95: float | None
    share_99: float | None
    differs: str
    memory_format: str
    card: limits.Card | None
    gpu_model: str | None
    driver: str | None


@dataclass(frozen=True)
class SeriesPlan:
    """What a pass is, found out once by the subject's first process.

    Attributes:
        calls: Batches a pass.
        first_call_sec: The first batch of this size, compilation included.
        batch_sec: Of those after it.
        bus_sec: Copying a pass's images to the GPU and its results back, at once; None on a CPU.
        energy_j: Drawn by the device for a pass over inputs that lie there.
    """

    calls: int
    first_call_sec: float
    batch_sec: float
    bus_sec: float | None = None
    energy_j: float | None = None
    power_w: float | None = None


@dataclass(frozen=True)
class Circumstances:
    """How things stood before the first turn of a process at a batch size."""

    gpu_processes: int
    cpu_clock_mhz: float | None
    gpu_clock_mhz: float | None
    peak_mib: float


@dataclass(frozen=True)
class Turn:
    """A timed pass by one process at one batch size.

    Attributes:
        device_sec: Over inputs that lie on the device; None where this turn left it out.
        end_to_end_sec: From host memory to host memory.
        overlapped_sec: The same with pinned memory and copies beside the computation; None on a
            CPU, and in turns without `device_sec`.
        cpu_sec: Of all cores, which the process took for the whole turn.
        single_sec: Of each call, where a batch is a single image.
    """

    device_sec: float | None
    end_to_end_sec: float
    overlapped_sec: float | None
    device_gaps: bool
    throttled: bool
    cpu_sec: float
    single_sec: np.ndarray | None = None


class _Batches:
    """A set's batches of one size, one after the other and round again: what a pass goes over."""

    def __init__(self, prepared: Iterator[Any], whole: Iterator[tuple[int, Any]]) -> None:
        """Take the batches.

        Args:
            prepared: As the subject wants them on its device.
            whole: As they lie in host memory, each with the place of its first image.
        """
        self._prepared, self._whole = cycle(prepared), cycle(whole)

    def prepared(self, calls: int) -> list[Any]:
        return [next(self._prepared) for _ in range(calls)]

    def whole(self, calls: int) -> list[tuple[int, Any]]:
        return [next(self._whole) for _ in range(calls)]


class Timed:
    """A subject that is measured."""

    def __init__(
        self,
        subject: Subject,
        images: Tensor,
        targets: Tensor,
        affine: Mapping[str, Tensor],
        directory: Path,
    ) -> None:
        """Build the subject.

        Args:
            subject: Who is measured, and on which device.
            images: (N, 3, H, W) uint8, what a pass goes over.
            targets: (N, c, h, w) float32, what the pipeline makes of them.
            affine: The map of a person's own pipeline, as `Splits.affine` has it.
            directory: Where the subject's processes keep what takes long to make.
        """
        self.subject = subject
        self.device = torch.device(subject.device)
        self.runner = runner_of(subject, affine, directory)
        self.images, self.targets = images, targets
        self.results = torch.empty_like(targets)
        self.host = HostStopwatch()
        self.device_stopwatch: HostStopwatch | CudaStopwatch = self.host
        self.gpu: machine.Gpu | None = None
        self.overlapped: Overlapped | None = None
        if self.device.type == "cuda":
            self.host = HostStopwatch(synchronize=torch.cuda.synchronize)
            self.device_stopwatch = CudaStopwatch(torch.cuda)
            self.gpu = machine.Gpu()
            if self.runner.takes_tensors and not subject.single:
                self.images, self.results = images.pin_memory(), self.results.pin_memory()
                self.overlapped = Overlapped(self.runner.end_to_end, self.device)
        self._checked = self.results[:0]
        self._batches: dict[int, _Batches] = {}
        self._first_call_sec: dict[int, float] = {}

    @torch.inference_mode()
    def check(self) -> SubjectCheck:
        """Compare what the subject computes with what it should.

        Raises UsageError when the subject doesn't give one float32 image per image.
        """
        speed_alone = self.subject.kind == "untrained"
        images = self.images[:COMPARED] if speed_alone else self.images
        batch_size = 1 if self.subject.single else CHECK_BATCH
        for start in range(0, len(images), batch_size):
            batch = images[start : start + batch_size]
            self._place(start, len(batch), self.runner.end_to_end(self.runner.layout(batch)))
        self._checked = self.results[:COMPARED][: len(images)].clone()
        expected = self.targets[: len(self._checked)]
        if self.runner.expected:
            expected = self.runner.expected(images[:COMPARED])
        difference = float((self._checked - expected).abs().max())
        network = self.runner.network
        cosines = cosine_similarity(self.results, self.targets)
        return SubjectCheck(
            max_difference=difference,
            share_95=None if speed_alone else cosine_accuracy(cosines, THRESHOLD),
            share_99=None if speed_alone else cosine_accuracy(cosines, STRICT_THRESHOLD),
            differs=self._differs(difference),
            memory_format=self.runner.memory_format,
            card=None if network is None else limits.card(network, self.subject.task),
            gpu_model=torch.cuda.get_device_name() if self.gpu else None,
            driver=self.gpu.driver() if self.gpu else None,
        )

    def rates(self) -> limits.Rates:
        """Measure what the device reaches in this subject's precision; takes about a second."""
        return limits.measure(self.device, self.subject.precision)

    @torch.inference_mode()
    def compile(self, batch_sizes: Sequence[int]) -> None:
        """Call it for the first time at each batch size, which compiles it there."""
        for size in batch_sizes:
            self._first_call(size)

    def _first_call(self, batch_size: int) -> float:
        """Return the seconds of the first call at a batch size, and compare what it computes."""
        if batch_size not in self._first_call_sec:
            torch.set_num_threads(threads_of(batch_size, _threads))
            batch = self.runner.layout(self.images[:batch_size])
            start = time.perf_counter()
            outputs = self.runner.end_to_end(batch)
            self._first_call_sec[batch_size] = time.perf_counter() - start
            self._place(0, batch_size, outputs)
            self._compare_with_check(batch_size)
        return self._first_call_sec[batch_size]

    @torch.inference_mode()
    def plan(self, batch_size: int) -> SeriesPlan:
        """Call it for the first time at a batch size, and decide how many batches make a pass."""
        torch.set_num_threads(threads_of(batch_size, _threads))
        first_call_sec = self._first_call(batch_size)
        batch = self.runner.layout(self.images[:batch_size])
        batch_sec = min(self.host.seconds(self._end_to_end, [(0, batch)]) for _ in range(3))
        calls = calls_per_pass(batch_sec)
        bus_sec = self._bus_sec(batch_size, calls)
        energy = self._energy(batch_size, calls)
        return SeriesPlan(calls, first_call_sec, batch_sec, bus_sec, *energy)

    @torch.inference_mode()
    def warm_up(self, batch_size: int) -> Circumstances:
        """Work untimed: the first calls of a process are slow."""
        torch.set_num_threads(threads_of(batch_size, _threads))
        memory = PeakMemory(self.device)
        memory.reset()
        batches = self._laid_out(batch_size)
        self._end_to_end(batches.whole(1)[0])
        self._work(batches, WARM_SEC)
        return Circumstances(
            gpu_processes=self.gpu.processes() if self.gpu else 0,
            cpu_clock_mhz=machine.clock_mhz(),
            gpu_clock_mhz=self.gpu.clock_mhz() if self.gpu else None,
            peak_mib=memory.mib(),
        )

    @torch.inference_mode()
    def turn(self, batch_size: int, calls: int, with_device: bool) -> Turn:
        """Time a pass of so many calls.

        Args:
            batch_size: Images a call.
            calls: Batches a pass.
            with_device: Whether to time one over inputs that lie on the device too.
        """
        began_sec = time.process_time()
        torch.set_num_threads(threads_of(batch_size, _threads))
        batches = self._laid_out(batch_size)
        self._work(batches, STIR_SEC)
        whole = batches.whole(calls)
        single = self.host.each(self._end_to_end, whole) if batch_size == 1 else None
        end_to_end_sec = sum(single) if single else self.host.seconds(self._end_to_end, whole)
        device_sec, overlapped_sec, gaps = None, None, False
        if with_device:
            device_sec = self.device_stopwatch.seconds(self.runner.run, batches.prepared(calls))
            gaps = self.device_stopwatch.gaps
            if self.overlapped:
                overlapped = partial(self._overlapped, self.overlapped)
                overlapped_sec = self.host.seconds(overlapped, batches.whole(calls))
        return Turn(
            device_sec=device_sec,
            end_to_end_sec=end_to_end_sec,
            overlapped_sec=overlapped_sec,
            device_gaps=gaps,
            throttled=bool(self.gpu and self.gpu.throttled()),
            cpu_sec=time.process_time() - began_sec,
            single_sec=np.array(single) if single else None,
        )

    def _work(self, batches: _Batches, sec: float) -> None:
        """Call the subject untimed for so long, at least once."""
        end = time.perf_counter() + sec
        self._end_to_end(batches.whole(1)[0])
        while time.perf_counter() < end:
            self._end_to_end(batches.whole(1)[0])

    def _energy(self, batch_size: int, calls: int) -> tuple[float | None, float | None]:
        """Joules a pass, and watts, over so many passes that the device's counter has moved."""
        meter = self.gpu or machine.CpuEnergy()
        before = meter.energy_j()
        if before is None:
            return None, None
        batches = self._laid_out(batch_size)
        passes, elapsed_sec = 0, 0.0
        while elapsed_sec < ENERGY_SEC:
            elapsed_sec += self.host.seconds(self.runner.run, batches.prepared(calls))
            passes += 1
        drawn = (meter.energy_j() or before) - before
        return (drawn / passes, drawn / elapsed_sec) if drawn > 0 else (None, None)

    def _compare_with_check(self, batch_size: int) -> None:
        """Compare the first batch of a size, just computed, with what `check` found at its own.

        Raises UsageError when they differ, since then it was something else that was checked.
        """
        checked = self._checked[:batch_size]
        difference = (
            float((self.results[: len(checked)] - checked).abs().amax()) if len(checked) else 0.0
        )
        if difference > SAME_WITHIN["bfloat16"] * self.subject.task.span:
            raise UsageError(
                f"its output at batch {batch_size} differs from that at {CHECK_BATCH} "
                f"by {difference:.1e}"
            )

    def _end_to_end(self, placed: tuple[int, Any]) -> None:
        """Run one batch from host memory into its place among the results, in host memory too."""
        start, batch = placed
        outputs = self.runner.end_to_end(batch)
        self.results[start : start + len(outputs)] = outputs

    def _overlapped(self, overlapped: Overlapped, placed: tuple[int, Any]) -> None:
        """Run one batch as `_end_to_end` does, with copies that overlap."""
        start, batch = placed
        overlapped(batch, self.results[start : start + len(batch)])

    def _bus_sec(self, batch_size: int, calls: int) -> float | None:
        """Seconds of copying the images of a pass to the GPU and its results back: the shortest."""
        if self.overlapped is None:
            return None
        bus = Bus(self.images[:batch_size], self.results[:batch_size], self.device)
        return calls * min(self.host.seconds(lambda _: bus.copy(), [0]) for _ in range(BUS_TRIES))

    def _laid_out(self, batch_size: int) -> _Batches:
        """Return the batches of a size. Each is prepared when it is first asked for."""
        if batch_size not in self._batches:
            starts = range(0, len(self.images) // batch_size * batch_size, batch_size)

            def laid_out(start: int) -> Any:
                return self.runner.layout(self.images[start : start + batch_size])

            self._batches[batch_size] = _Batches(
                (self.runner.prepare(laid_out(start)) for start in starts),
                ((start, laid_out(start)) for start in starts),
            )
        return self._batches[batch_size]

    def _place(self, start: int, count: int, outputs: Any) -> None:
        """Put outputs of `count` images into the results.

        Raises UsageError when they don't have the shape and type.
        """
        wanted = (count, *self.targets.shape[1:])
        found: tuple[object, object] = (type(outputs).__name__, "")
        if isinstance(outputs, Tensor):
            found = (tuple(outputs.shape), outputs.dtype)
        if found != (wanted, torch.float32):
            raise UsageError(
                f"{self.subject.name} makes {found[0]} {found[1]} of {count} images: "
                f"it has to return a tensor {wanted} of torch.float32"
            )
        self.results[start : start + count] = outputs

    def _differs(self, difference: float) -> str:
        if difference != difference:  # NaN
            return "some outputs are not a number"
        if not self.subject.is_network:
            return ""
        if difference <= SAME_WITHIN[self.subject.precision] * self.subject.task.span:
            return ""
        return (
            f"it differs from its own eager float32 output by {difference:.1e}, "
            "so it is another computation"
        )


_timed: Timed | None = None
_displaced = bytearray()
_threads = 1


def enter(threads: int, directory: Path) -> None:
    """Set the process up: the first thing that happens there.

    Args:
        threads: That PyTorch uses.
        directory: Where the subject's processes keep what takes long to make.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:  # a killed parent leaves nobody else who would end this process
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in (1, 2):  # what a network prints would stand between the lines of the command
            os.dup2(nowhere, stream)
        threading.Thread(target=_end_after, args=(parent,), daemon=True).start()
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(directory / "compiled")
    torch.backends.cudnn.allow_tf32 = False  # float32 means float32
    # It would say "No CUDA runtime is found"
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
    torch.set_num_threads(threads)
    global _displaced, _threads
    _threads = threads
    _displaced = bytearray(random.SystemRandom().randrange(DISPLACED_BYTES))


def _end_after(parent: Any) -> None:
    parent.join()
    os._exit(1)


def build(subject: Subject, images_file: Path) -> None:
    """Build this process's subject. Raises SubjectError."""
    global _timed
    with _in_one_line():
        _timed = built(subject, images_file)


def build_and_check(subject: Subject, images_file: Path) -> SubjectCheck:
    """Build this process's subject, and compare what it computes. Raises SubjectError."""
    build(subject, images_file)
    checked: SubjectCheck = call("check")
    return checked


def built(subject: Subject, images_file: Path) -> Timed:
    """Build a subject from the images, targets and the map that `conductor` wrote."""
    tensors = load_file(images_file)
    images, targets = tensors.pop("images"), tensors.pop("targets")
    return Timed(subject, images, targets, tensors, images_file.parent)


def call(method: str, *arguments: Any) -> Any:
    """Call a method of this process's subject. Raises SubjectError."""
    with _in_one_line():
        return getattr(_timed, method)(*arguments)


@contextmanager
def _in_one_line() -> Iterator[None]:
    """Turn whatever is raised into a SubjectError.

    A person's own function, a compiler, a library: anything can come, also what no other process
    can read.
    """
    try:
        yield
    except UsageError as error:
        raise SubjectError(first_line(error)) from None
    except BaseException as error:  # Ctrl-C does not come here: only a person's code raises it
        raise SubjectError(in_one_line(error)) from None
