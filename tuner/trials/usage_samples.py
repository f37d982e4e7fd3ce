"""What a trial's process takes of its machine, every few seconds: for the table `usage`."""

import threading
import time
from collections import deque
from typing import Any

import torch

from analysis.tables.schema import USAGE_EVERY_SEC
from analysis.timing.machine import Gpu
from trainables.memory import own_mib

USAGE = "usage"  # what a report calls the samples that it takes along, where there are any
LEAST_SEC = 0.1  # over which processor time says something

Sample = dict[str, float | None]
"""Columns of `usage` that the process knows."""


class UsageSamples:
    """Samples that a thread takes while a trial trains, until a report of it takes them along.

    A process has one for all its trials, so that of those that are shorter than USAGE_EVERY_SEC
    some have a sample.
    """

    def __init__(self) -> None:
        self._samples: deque[tuple[float, Sample]] = deque()
        self._left_sec = USAGE_EVERY_SEC  # until the next one, in seconds of trials
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._gpu: Gpu | None = None

    def start(self, device: torch.device) -> None:
        """Take samples from now on, of this process and of the GPU that it trains on."""
        self._samples.clear()
        self._ended.clear()
        if device.type == "cuda" and self._gpu is None:
            self._gpu = Gpu()  # here: a thread might ask CUDA while a graph is recorded
        self._thread = threading.Thread(target=self._sample_on, args=(device,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Take none until `start`."""
        if self._thread is not None:
            self._ended.set()
            self._thread.join()

    def take(self) -> list[dict[str, Any]]:
        """Return the samples since the last call, each with its `age_sec`."""
        now, taken = time.monotonic(), []
        while self._samples:
            at, sample = self._samples.popleft()
            taken.append({"age_sec": now - at, **sample})
        return taken

    def _sample_on(self, device: torch.device) -> None:
        at, cpu_sec = time.monotonic(), time.process_time()
        while not self._ended.wait(max(self._left_sec, LEAST_SEC)):
            before, before_sec = at, cpu_sec
            at, cpu_sec = time.monotonic(), time.process_time()
            cores = (cpu_sec - before_sec) / (at - before)
            self._samples.append((at, {"cpu_cores": cores, **self._held(device)}))
            self._left_sec = USAGE_EVERY_SEC
        self._left_sec -= time.monotonic() - at

    def _held(self, device: torch.device) -> Sample:
        held: Sample = {"memory_mib": own_mib(), "gpu_used": None, "gpu_memory_mib": None}
        if self._gpu is not None:
            held["gpu_used"] = self._gpu.used()
            held["gpu_memory_mib"] = torch.cuda.memory_reserved(device) / 2**20
        return held
