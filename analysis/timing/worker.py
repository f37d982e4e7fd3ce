"""The process of one subject: it builds the subject, checks what it computes, warms it up and times passes."""

import logging
import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from analysis.timing import limits, machine
from analysis.timing.engines import build
from analysis.timing.protocol import WarmUp, images_per_pass, warm_up
from analysis.timing.runner import Runner
from analysis.timing.stopwatch import CudaStopwatch, HostStopwatch, Stopwatch
from analysis.timing.subjects import Subject
from trainables.metrics import cosine_accuracy, cosine_similarity
from trainables.pipelines.study import TARGET_SHAPE
from trainables.thresholds import STRICT_THRESHOLD, THRESHOLD

COMPARED, CHECK_BATCH = 1000, 500  # images
STIR_SEC = (
    0.005  # at least one untimed call before each pass, since another subject just had the caches
)
ENERGY_SEC = 0.5  # NVML's counter of energy moves every few tens of ms
SAME_WITHIN = {
    "float32": 1e-3,
    "bfloat16": 0.05,
}  # how far a network's variant may be from its eager float32


class SubjectError(Exception):
    """A subject could not be built or run; the text says why, in one line."""


@dataclass(frozen=True)
class SubjectCheck:
    """What a subject computes, compared with what it should."""

    max_difference: float
    share_95: float | None
    share_99: float | None
    differs: str
    """Why it is not the same computation; empty when it is, or where a difference is the subject's nature."""
    memory_format: str
    card: limits.Card | None
    gpu_model: str | None
    driver: str | None


@dataclass(frozen=True)
class SeriesPlan:
    """How a series is measured."""

    images: int
    """A pass; 0 when one batch takes longer than a pass may."""
    repeats: int
    warm_up: WarmUp
    first_call_sec: float
    batch_sec: float
    energy_j: float | None = None
    """Drawn by the GPU for a pass over inputs that lie there."""
    power_w: float | None = None


@dataclass(frozen=True)
class Pass:
    """One timed pass and its circumstances."""

    device_sec: float
    end_to_end_sec: float
    device_gaps: bool
    turn_sec: float
    """Both passes and what lies between: the time in which other work was watched."""
    other_busy_sec: float
    throttled: bool
    gpu_processes: int
    cpu_clock_mhz: float | None
    gpu_clock_mhz: float | None
    peak_mib: float


class Timed:
    """A subject that is measured."""

    def __init__(self, subject: Subject, images: Tensor, targets: Tensor) -> None:
        self.subject = subject
        self.device = torch.device(subject.device)
        self.runner: Runner = build(subject)
        self.card = limits.card(self.runner.network) if self.runner.network is not None else None
        self.images, self.targets = images, targets
        self.results = torch.empty_like(targets)
        on_gpu = self.device.type == "cuda"
        self.host = HostStopwatch(synchronize=torch.cuda.synchronize if on_gpu else lambda: None)
        self.device_stopwatch: Stopwatch = CudaStopwatch(torch.cuda) if on_gpu else self.host
        self.gpu = machine.Gpu() if on_gpu else None
        self._checked = self.results[:0]
        self._prepared: Tensor | None = None
        self._plans: dict[int, SeriesPlan] = {}
        self._inputs: dict[int, tuple[list[Any], list[Any]]] = {}

    @torch.inference_mode()
    def check(self) -> SubjectCheck:
        """Raises ValueError when the subject doesn't give one float32 image per image."""
        speed_alone = self.subject.kind == "untrained"
        images = self.images[:COMPARED] if speed_alone else self.images
        batch = 1 if self.subject.single else CHECK_BATCH
        for start in range(0, len(images), batch):
            self._store(start, images[start : start + batch])
        self._checked = self.results[:COMPARED][: len(images)].clone()
        expected = self.runner.expected(images[:COMPARED])
        difference = float((self.results[: len(expected)] - expected).abs().max())
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
        """What the device reaches in this subject's precision."""
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
            return SeriesPlan(0, 0, WarmUp(0, False), first_call_sec, batch_sec)
        self._inputs[batch_size] = self._lay_out(batch_size, count)
        prepared, whole = self._inputs[batch_size]
        warm = warm_up(lambda: self.host.seconds(self._end_to_end, whole))
        prepared_sec = self.host.seconds(self.runner.run, prepared)
        repeats = self.host.repeats(min(prepared_sec, self.host.seconds(self._end_to_end, whole)))
        energy = self._energy(prepared)
        self._plans[batch_size] = SeriesPlan(
            count, repeats, warm, first_call_sec, batch_sec, *energy
        )
        return self._plans[batch_size]

    @torch.inference_mode()
    def measure(self, batch_size: int) -> Pass:
        """One pass of a series that is warm."""
        prepared, whole = self._inputs[batch_size]
        plan = self._plans[batch_size]
        self._stir(whole)
        memory = machine.PeakMemory(self.device)
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
        """Joules a pass, and watts, over so many passes that the GPU's counter can tell."""
        before = self.gpu.energy_j() if self.gpu else None
        if self.gpu is None or before is None:
            return None, None
        passes, elapsed_sec = 0, 0.0
        while elapsed_sec < ENERGY_SEC:
            elapsed_sec += self.host.seconds(self.runner.run, prepared)
            passes += 1
        drawn = (self.gpu.energy_j() or before) - before
        return drawn / passes, drawn / elapsed_sec

    def _stir(self, whole: list[Any]) -> None:
        end = time.perf_counter() + STIR_SEC
        self._end_to_end(whole[0])
        while time.perf_counter() < end:
            self._end_to_end(whole[0])

    def _compare_with_check(self, batch_size: int) -> None:
        """The first batch of each size, just computed, against what `check` found at its own size.

        Raises ValueError when they differ, since then it was something else that was checked.
        """
        count = min(batch_size, len(self._checked))
        difference = (
            float((self.results[:count] - self._checked[:count]).abs().amax()) if count else 0.0
        )
        if difference > SAME_WITHIN["bfloat16"]:
            raise ValueError(
                f"its output at batch {batch_size} differs from that at {CHECK_BATCH} by {difference:.1e}"
            )

    def _end_to_end(self, placed: tuple[int, Any]) -> None:
        """One batch from host memory into its place among the results, which lie in host memory too."""
        start, batch = placed
        outputs = self.runner.end_to_end(batch)
        self.results[start : start + len(outputs)] = outputs

    def _lay_out(self, batch_size: int, count: int) -> tuple[list[Any], list[Any]]:
        """Before the clock runs: the batches as the device wants them, and as they lie in host memory."""
        batches = [self.runner.layout(batch) for batch in self.images[:count].split(batch_size)]
        if self.subject.single:
            prepared = [self.runner.prepare(batch) for batch in batches]
        else:  # one copy for all batch sizes
            if self._prepared is None:
                self._prepared = self.runner.prepare(self.runner.layout(self.images))
            prepared = list(self._prepared[:count].split(batch_size))
        return prepared, list(zip(range(0, count, batch_size), batches, strict=True))

    def _store(self, start: int, images: Tensor) -> None:
        self._place(start, len(images), self.runner.end_to_end(self.runner.layout(images)))

    def _place(self, start: int, count: int, outputs: Any) -> None:
        """Outputs of `count` images into the results. Raises ValueError when they don't have the shape and type."""
        wanted = (count, *TARGET_SHAPE)
        found = (
            (tuple(outputs.shape), outputs.dtype)
            if isinstance(outputs, Tensor)
            else (type(outputs).__name__, "")
        )
        if found != (wanted, torch.float32):
            raise ValueError(
                f"{self.subject.name} makes {found[0]} {found[1]} of {count} images: "
                f"it has to return a tensor {wanted} of torch.float32"
            )
        self.results[start : start + count] = outputs

    def _differs(self, difference: float) -> str:
        if difference != difference:  # NaN
            return "some outputs are not a number"
        if self.subject.is_network and difference > SAME_WITHIN[self.subject.precision]:
            return f"it differs from its own eager float32 output by {difference:.1e}, so it is another computation"
        return ""


_timed: Timed | None = None


def enter(threads: int) -> None:
    """The first thing in the process."""
    parent = multiprocessing.parent_process()
    if parent is not None:  # a killed parent leaves nobody else who would end this process
        threading.Thread(target=_outlive_nobody, args=(parent,), daemon=True).start()
    torch.backends.cudnn.allow_tf32 = False  # float32 means float32
    logging.getLogger("torch.utils.cpp_extension").setLevel(
        logging.ERROR
    )  # "No CUDA runtime is found"
    torch.set_num_threads(threads)


def _outlive_nobody(parent: Any) -> None:
    parent.join()
    os._exit(1)


def prepare(subject: Subject, images_file: Path) -> SubjectCheck:
    """Build and check this process's subject. Raises SubjectError."""
    global _timed
    with _in_one_line():
        tensors = load_file(images_file)
        _timed = Timed(subject, tensors["images"], tensors["targets"])
        return _timed.check()


def call(method: str, *arguments: Any) -> Any:
    """Call a method of this process's subject. Raises SubjectError."""
    function: Callable[..., Any] = getattr(_timed, method)
    with _in_one_line():
        return function(*arguments)


@contextmanager
def _in_one_line() -> Iterator[None]:
    """A person's own function, a compiler, a library: anything can come, also what no other process can read."""
    try:
        yield
    except (Exception, SystemExit) as error:
        reason = str(error).strip().partition("\n")[0]
        raise SubjectError(
            reason if type(error) is ValueError else f"{type(error).__name__}: {reason}"
        ) from None
