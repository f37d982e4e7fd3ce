"""From a trial's process to the search: one report an epoch, with a checkpoint."""

import tempfile
import traceback
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import ray
import ray.train
import torch
from ray import tune

from analysis.tables.ranking import best_epoch, objective
from analysis.tables.table_sources import is_refusal
from trainables.memory import PeakMemory
from trainables.training.loop import EpochRecord, Training
from trainables.training.workers import Workers
from tuner.storage import checkpoints
from tuner.storage.experiment import UNWRITABLE
from tuner.trials.failures import StorageGoneError, failure_result
from tuner.trials.trial_setup import OBJECTIVE, Proposal, TrialSetup


class TrialReporter:
    """One process of a trial, alone or a worker of a group: its device, and its way to the search.

    Attributes:
        alone: Whether the trial trains in this process only.
        workers: This process among those that train the trial.
        restarted: Whether Ray has started the trial again after a process of it died.
        facts: What each report says of the process beside the epoch.
        fallback: What the trial had to do without, and why; empty where it had all that was wanted.
    """

    def __init__(self, setup: TrialSetup) -> None:
        self._setup = setup
        self._experiment = setup.experiment
        self._memory = PeakMemory(torch.device("cpu"))
        self._epoch = 0
        self.facts: dict[str, Any] = {}
        self.fallback = ""
        self.alone = setup.workers == 1
        if self.alone:
            self.workers = Workers()
        else:
            context = ray.train.get_context()
            self.workers = Workers(context.get_world_rank(), context.get_world_size())
        # Ray gives a checkpoint to a trial whose process died and that it has started again
        self.restarted = (tune if self.alone else ray.train).get_checkpoint() is not None

    def prepare_device(self) -> torch.device:
        """Return this worker's device, limited to its resources: threads, or memory of a GPU."""
        resources = self._setup.resources
        torch.set_num_threads(resources.threads)
        device = torch.device("cpu")
        # A process without a part of a GPU still sees every one: Ray's word counts, not CUDA's
        if ray.get_gpu_ids():
            device = torch.device("cuda:0") if self.alone else _device_in_group()
        self._memory = PeakMemory(device)
        self._memory.reset()
        if device.type == "cuda" and resources.gpus < 1:
            torch.cuda.set_per_process_memory_fraction(resources.gpus, device)
        return device

    def checkpoints(self, proposal: Proposal) -> list[str]:
        """Return the directories of this trial's checkpoints, newest first.

        After a restart Ray offers only the last one, which may be the one that was being written.
        Those of this session are looked up then, so that there is one before it.
        """
        if not self.restarted:
            return list(proposal["checkpoints"])
        return self._experiment.patiently(lambda: self._experiment.checkpoints(proposal["number"]))

    def report(self, record: EpochRecord, training: Training) -> None:
        """Report an epoch, with the state after it. Never returns once ASHA has said stop.

        An epoch before the newest is reported without a state: a trial that dies in between begins
        its reports anew.
        """
        self._epoch = record.epoch
        problem = training.graph_problem
        metrics = {
            **asdict(record),
            **self.facts,
            "peak_mib": self._memory.mib(),
            "perceptual_batch": training.perceptual_batch,
            "fallback": f"without CUDA graphs ({problem})" if problem else self.fallback,
            OBJECTIVE: reached(
                training.history[: record.epoch], mixed_losses=self._setup.mixed_losses
            ),
        }
        if self.workers.rank > 0 or record.epoch < len(training.history):
            self._send(metrics, None)
            return
        with tempfile.TemporaryDirectory() as directory:
            checkpoints.save(Path(directory), training.state_dict())
            self._send(metrics, directory)

    def report_failure(self, error: Exception) -> None:
        """Report that the trial can't go on. The others do, if their storage is there."""
        result = failure_result(error, self._epoch, traceback.format_exc())
        self._send({**self.facts, **result}, None)

    def _send(self, metrics: dict[str, Any], directory: str | None) -> None:
        checkpoint = tune.Checkpoint.from_directory(directory) if directory else None
        # Ray writes the checkpoint to the storage before it does anything else
        try:
            self._experiment.patiently(
                lambda: (tune if self.alone else ray.train).report(metrics, checkpoint=checkpoint)
            )
        except OSError as error:
            if error.errno not in UNWRITABLE and not is_refusal(error):
                raise
            raise StorageGoneError(*error.args) from error


def _device_in_group() -> torch.device:
    from ray.train.torch import get_device  # takes 2.6 s, and only groups need it

    device: torch.device = get_device()
    return device


def reached(history: Sequence[EpochRecord], *, mixed_losses: bool) -> float:
    """Return the objective of a trial after these epochs; NaN where it can't be best.

    Args:
        history: Its epochs so far, at least one.
        mixed_losses: Whether losses of several kinds are searched.
    """
    best = best_epoch(vars(record) for record in history)
    if best is None or history[-1].stop_reason == "diverged":
        return float("nan")
    return float(objective(best, mixed_losses=mixed_losses))
