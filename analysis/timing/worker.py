"""The process of one subject: it builds and checks the subject, warms it up, and times passes."""

import logging
import multiprocessing
import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from analysis.timing import limits, machine
from analysis.timing.engines import runner_of
from analysis.timing.protocol import images_per_pass, warm_up
from analysis.timing.stopwatch import CudaStopwatch, HostStopwatch
from analysis.timing.subjects import Subject
from trainables.errors import UsageError, first_line, in_one_line
from trainables.memory import PeakMemory
from trainables.metrics.cosine import cosine_accuracy, cosine_similarity
from trainables.thresholds import STRICT_THRESHOLD, THRESHOLD

COMPARED, CHECK_BATCH = 1000, 500  # images
STIR_SEC = 0.005  # of untimed calls before each pass, since another subject just had the caches
ENERGY_SEC = 0.5  # NVML's counter of energy moves every few tens of ms
SAME_WITHIN = {"float32": 1e-3, "bfloat16": 0.05}
"""How far a network's variant may be from its eager float32 output, as a share of the range."""

Inputs = tuple[list[Any], list[tuple[int, Any]]]
"""The batches of a pass as the subject wants them on its device; and as they lie in host memory,
each with the place of its first image."""


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
    """How a series is measured.

    Attributes:
        images: A pass; 0 when one batch takes longer than a pass may.
        repeats: Passes that are timed as one.
        energy_j: Drawn by the GPU for a pass over inputs that lie there.
    """

    images: int
    repeats: int
    warm_up_passes: int
    settled: bool
    first_call_sec: float
    batch_sec: float
    energy_j: float | None = None
    power_w: float | None = None


@dataclass(frozen=True)
class Pass:
    """One timed pass and its circumstances.

    Attributes:
        turn_sec: Both passes and what lies between: the time in which other work was watched.
    """

    device_sec: float
    end_to_end_sec: float
    device_gaps: bool
    turn_sec: float
    other_busy_sec: float
    throttled: bool
    gpu_processes: int
    cpu_clock_mhz: float | None
    gpu_clock_mhz: float | None
    peak_mib: float


class Timed:
    """A subject that is measured."""

    def __init__(
        self, subject: Subject, images: Tensor, targets: Tensor, affine: Mapping[str, Tensor]
    ) -> None:
        """Build the subject.

        Args:
            subject: Who is measured, and on which device.
            images: (N, 3, H, W) uint8, what a pass goes over.
            targets: (N, c, h, w) float32, what the pipeline makes of them.
            affine: The map of a person's own pipeline, as `Splits.affine` has it.
        """
        self.subject = subject
        self.device = torch.device(subject.device)
        self.runner = runner_of(subject, affine)
        network = self.runner.network
        self.card = None if network is None else limits.card(network, subject.task)
        self.images, self.targets = images, targets
        self.results = torch.empty_like(targets)
        self.host = HostStopwatch()
        self.device_stopwatch: HostStopwatch | CudaStopwatch = self.host
        self.gpu = None
        if self.device.type == "cuda":
            self.host = HostStopwatch(synchronize=torch.cuda.synchronize)
            self.device_stopwatch = CudaStopwatch(torch.cuda)
            self.gpu = machine.Gpu()
        self._checked = self.results[:0]
        self._prepared: Tensor | None = None
        self._series: dict[int, tuple[SeriesPlan, Inputs]] = {}

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
        cosines = cosine_similarity(self.results, self.targets)
        return SubjectCheck(
            max_difference=difference,
            share_95=None if speed_alone else cosine_accuracy(cosines, THRESHOLD),
            share_99=None if speed_alone else cosine_accuracy(cosines, STRICT_THRESHOLD),
            differs=self._differs(difference),
            memory_format=self.runner.memory_format,
            card=self.card,
            gpu_model=torch.cuda.get_device_name() if self.gpu else None,
            driver=self.gpu.driver() if self.gpu else None,
        )

    def rates(self) -> limits.Rates:
        """Measure what the device reaches in this subject's precision; takes about a second."""
        return limits.measure(self.device, self.subject.precision)

    @torch.inference_mode()
    def warm_up(self, batch_size: int, pass_limit_sec: float) -> SeriesPlan:
        """Decide how many images a pass takes, and repeat it until it is warm."""
        batch = self.runner.layout(self.images[:batch_size])
        start = time.perf_counter()
        outputs = self.runner.end_to_end(batch)
        first_call_sec = time.perf_counter() - start
        self._place(0, batch_size, outputs)
        self._compare_with_check(batch_size)
        batch_sec = min(self.host.seconds(self._end_to_end, [(0, batch)]) for _ in range(3))
        count = images_per_pass(len(self.images), batch_size, batch_sec, pass_limit_sec)
        if not count:
            return SeriesPlan(0, 0, 0, False, first_call_sec, batch_sec)
        prepared, whole = self._lay_out(batch_size, count)
        warm_up_passes, settled = warm_up(lambda: self.host.seconds(self._end_to_end, whole))
        repeats = self.host.repeats(
            min(
                self.host.seconds(self.runner.run, prepared),
                self.host.seconds(self._end_to_end, whole),
            )
        )
        plan = SeriesPlan(
            count,
            repeats,
            warm_up_passes,
            settled,
            first_call_sec,
            batch_sec,
            *self._energy(prepared),
        )
        self._series[batch_size] = plan, (prepared, whole)
        return plan

    @torch.inference_mode()
    def measure(self, batch_size: int) -> Pass:
        """Time one pass of a series that is warm."""
        plan, (prepared, whole) = self._series[batch_size]
        self._stir(whole[0])
        memory = PeakMemory(self.device)
        memory.reset()
        before = machine.read()
        device_sec = self.device_stopwatch.seconds(self.runner.run, prepared, plan.repeats)
        end_to_end_sec = self.host.seconds(self._end_to_end, whole, plan.repeats)
        after = machine.read()
        return Pass(
            device_sec=device_sec,
            end_to_end_sec=end_to_end_sec,
            device_gaps=self.device_stopwatch.gaps,
            turn_sec=after.at - before.at,
            other_busy_sec=machine.other_busy_sec(before, after),
            throttled=after.throttles > before.throttles or bool(self.gpu and self.gpu.throttled()),
            gpu_processes=self.gpu.processes() if self.gpu else 0,
            cpu_clock_mhz=machine.clock_mhz(),
            gpu_clock_mhz=self.gpu.clock_mhz() if self.gpu else None,
            peak_mib=memory.mib(),
        )

    def _energy(self, prepared: list[Any]) -> tuple[float | None, float | None]:
        """Joules a pass, and watts, over so many passes that the GPU's counter has moved."""
        before = self.gpu.energy_j() if self.gpu else None
        if self.gpu is None or before is None:
            return None, None
        passes, elapsed_sec = 0, 0.0
        while elapsed_sec < ENERGY_SEC:
            elapsed_sec += self.host.seconds(self.runner.run, prepared)
            passes += 1
        drawn = (self.gpu.energy_j() or before) - before
        return drawn / passes, drawn / elapsed_sec

    def _stir(self, placed: tuple[int, Any]) -> None:
        """Call the subject untimed, at least once."""
        end = time.perf_counter() + STIR_SEC
        self._end_to_end(placed)
        while time.perf_counter() < end:
            self._end_to_end(placed)

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

    def _lay_out(self, batch_size: int, count: int) -> Inputs:
        """Prepare the batches of a pass over `count` images, before any clock runs."""
        batches = [self.runner.layout(batch) for batch in self.images[:count].split(batch_size)]
        whole = list(zip(range(0, count, batch_size), batches, strict=True))
        if self.subject.single:
            return [self.runner.prepare(batch) for batch in batches], whole
        if self._prepared is None:  # one copy for all batch sizes
            self._prepared = self.runner.prepare(self.runner.layout(self.images))
        return list(self._prepared[:count].split(batch_size)), whole

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


def enter(threads: int) -> None:
    """Set the process up: the first thing that happens there."""
    parent = multiprocessing.parent_process()
    if parent is not None:  # a killed parent leaves nobody else who would end this process
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in (1, 2):  # what a network prints would stand between the lines of the command
            os.dup2(nowhere, stream)
        threading.Thread(target=_end_after, args=(parent,), daemon=True).start()
    torch.backends.cudnn.allow_tf32 = False  # float32 means float32
    # It would say "No CUDA runtime is found"
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
    torch.set_num_threads(threads)


def _end_after(parent: Any) -> None:
    parent.join()
    os._exit(1)


def prepare(subject: Subject, images_file: Path) -> SubjectCheck:
    """Build and check this process's subject. Raises SubjectError."""
    global _timed
    with _in_one_line():
        _timed = built(subject, images_file)
        return _timed.check()


def built(subject: Subject, images_file: Path) -> Timed:
    """Build a subject from the images, targets and the map that `conductor` wrote."""
    tensors = load_file(images_file)
    images, targets = tensors.pop("images"), tensors.pop("targets")
    return Timed(subject, images, targets, tensors)


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
