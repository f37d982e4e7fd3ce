"""Whether torch.compile pays for itself within a training, by a measurement."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import nn

if TYPE_CHECKING:
    from trainables.training import Examples, TrainingConfig

COMPILE_SEC = 15.0  # with its imports, as measured for these networks on two cores
LIKELY_GAIN = 0.15  # of a step's time, at most, as measured there
ROUNDS = 5


@dataclass(frozen=True)
class Verdict:
    """Whether to compile, and why."""

    compiled: bool
    reason: str


def compiled(network: nn.Module) -> nn.Module:
    """What torch.compile makes of a network: compiled at its first call, by this process alone."""
    import torch._inductor.config as settings

    settings.compile_threads = 1  # a trial has its share of the cores; by default every process starts a pool
    return cast(nn.Module, torch.compile(network, dynamic=False))


def verdict(config: "TrainingConfig", train: "Examples", device: torch.device) -> Verdict:
    """Measure a step of this training on this machine, with the threads that are set, if compiling may pay.

    Takes a second when a training of `max_epochs` is too short for that, else as long as compiling.
    """
    batch = replace(train, images=train.images[: config.batch_size], targets=train.targets[: config.batch_size])
    batches = len(train) / len(batch.images)
    eager = _step(replace(config, compiled=False), batch, device)
    eager_sec = min(_seconds(eager), _seconds(eager))
    training_sec = eager_sec * batches * config.max_epochs
    if training_sec * LIKELY_GAIN < COMPILE_SEC:
        return Verdict(False, f"a trial trains for {training_sec:.0f} s at most, too short for it to pay")
    start = time.perf_counter()
    try:
        fast = _step(replace(config, compiled=True), batch, device)
        fast()
    except Exception as error:  # no C++ compiler, or a network that it can't take: each has an exception of its own
        return Verdict(False, f"it fails here: {str(error).strip().splitlines()[0]}")
    compile_sec = time.perf_counter() - start
    return _compared(eager, fast, compile_sec=compile_sec, steps=batches * config.max_epochs)


def _compared(eager: Callable[[], Any], fast: Callable[[], Any], *, compile_sec: float, steps: float) -> Verdict:
    """In turn, so that other work on the machine hits both alike."""
    pairs = [(_seconds(eager), _seconds(fast)) for _ in range(ROUNDS)]
    gain = 1 - statistics.median(after / before for before, after in pairs)
    saved_sec = gain * statistics.median(before for before, _ in pairs) * steps
    pays = saved_sec > compile_sec
    faster = f"{abs(gain):.0%} {'faster' if gain > 0 else 'slower'} a step"
    return Verdict(pays, f"{faster}, {saved_sec:.0f} s in the longest trial for {compile_sec:.0f} s of compiling")


def _step(config: "TrainingConfig", batch: "Examples", device: torch.device) -> Callable[[], float]:
    """One epoch over one batch."""
    from trainables.training import Training

    training = Training(config, batch, batch, device=device)
    return lambda: training.train_epoch(1)


def _seconds(run: Callable[[], Any]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start
