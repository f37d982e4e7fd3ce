"""Whether torch.compile pays for itself within a training, by a measurement."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import nn

if TYPE_CHECKING:
    from trainables.data.examples import Examples
    from trainables.training.loop import TrainingConfig

COMPILE_SEC = 15.0  # with its imports, as measured for these networks on two cores
LIKELY_GAIN = 0.1  # of a step's time, at most, as measured there
ROUNDS = 5


@dataclass(frozen=True)
class Verdict:
    """Whether to compile, and why."""

    compiled: bool
    reason: str


def problem() -> str:
    """Why this machine can't compile; empty where it can. A GPU's kernels too are started by code for the CPU."""
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        get_cpp_compiler()
    except InvalidCxxCompiler:
        return "no C++ compiler here; install g++"
    return ""


def compiled(network: nn.Module) -> nn.Module:
    """What torch.compile makes of a network: compiled at its first call, by this process alone."""
    import torch._inductor.config as settings

    settings.compile_threads = (
        1  # a trial has its share of the cores; by default every process starts a pool
    )
    # isolated, or the ninth trial of a process would find its class compiled too often, and train without a word
    compile_: Any = torch.compile  # whose overloads lack that
    return cast(nn.Module, compile_(network, dynamic=False, isolate_recompiles=True))


def training_sec(
    config: "TrainingConfig", batch: "Examples", *, images: int, device: torch.device
) -> float:
    """Seconds of `max_epochs` over so many images, from steps over `batch` on this machine with the threads set."""
    step = _step(replace(config, compiled=False), batch, device)
    return min(_seconds(step), _seconds(step)) * _steps(config, batch, images)


def may_pay(training_sec: float) -> bool:
    """Whether a training of that length is worth the seconds that measuring it compiled takes."""
    return training_sec * LIKELY_GAIN > COMPILE_SEC


def verdict(
    config: "TrainingConfig", batch: "Examples", *, images: int, device: torch.device
) -> Verdict:
    """Compile a step of a training with so many images, and compare it with the one that is not compiled."""
    eager = _step(replace(config, compiled=False), batch, device)
    start = time.perf_counter()
    try:
        fast = _step(replace(config, compiled=True), batch, device)
        fast()
    except Exception as error:  # no C++ compiler, or a network that it can't take: each has an exception of its own
        return Verdict(False, f"it fails here: {str(error).strip().partition(chr(10))[0]}")
    compile_sec = time.perf_counter() - start
    eager()  # its first, too
    return _compared(eager, fast, compile_sec=compile_sec, steps=_steps(config, batch, images))


def _steps(config: "TrainingConfig", batch: "Examples", images: int) -> float:
    return config.max_epochs * images / len(batch)


def _compared(
    eager: Callable[[], Any], fast: Callable[[], Any], *, compile_sec: float, steps: float
) -> Verdict:
    """In turn, so that other work on the machine hits both alike; all rounds but one must agree that it is faster."""
    pairs = [(_seconds(eager), _seconds(fast)) for _ in range(ROUNDS)]
    gains = sorted(1 - after / before for before, after in pairs)
    gain = statistics.median(gains)
    saved_sec = gain * statistics.median(before for before, _ in pairs) * steps
    if gain <= 0:
        return Verdict(False, f"a step takes {-gain:.0%} longer with it")
    if gains[1] <= 0:
        return Verdict(False, f"a step takes {gain:.0%} less, but not in all rounds but one")
    return Verdict(
        saved_sec > compile_sec,
        f"a step takes {gain:.0%} less, {saved_sec:.0f} s in a typical trial for {compile_sec:.0f} s of compiling",
    )


def _step(config: "TrainingConfig", batch: "Examples", device: torch.device) -> Callable[[], float]:
    """One epoch over one batch."""
    from trainables.training.loop import Training

    training = Training(config, batch, batch, device=device)
    return lambda: training.train_epoch(1)


def _seconds(run: Callable[[], Any]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start
