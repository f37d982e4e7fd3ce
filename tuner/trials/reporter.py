"""From a trial to the search: one report an epoch with a checkpoint, or why it can't go on."""

import tempfile
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NoReturn

import ray
import ray.train
import torch
from ray import tune

from analysis.tables.table_sources import is_refusal
from trainables.errors import cleaned, cut
from trainables.goal import Goal
from trainables.hyperparameters import Parameter
from trainables.memory import PeakMemory, is_short_of_memory
from trainables.training.loop import EpochRecord, Training
from trainables.training.workers import Workers
from tuner.cluster.nodes import WorkerResources
from tuner.cluster.object_store import StoredVgg16
from tuner.storage import checkpoints
from tuner.storage.run_storage import UNWRITABLE, Experiment
from tuner.trials.usage_samples import USAGE, UsageSamples

OBJECTIVE = "objective"
"""The metric that scheduler and TPE minimise: of a trial's best epoch so far, as the ranking has
it. NaN for a trial that can't be best."""
FAILURE_RETRIES = 5  # starts of a trial whose process died, with no epoch in between

Proposal = dict[str, Any]
"""Number, network, hyperparameters and seed of a trial, and where it goes on from."""


@dataclass(frozen=True)
class TrialSetup:
    """What every trial of a search has in common.

    Attributes:
        images: Object reference of the training and validation images and their targets.
        training: Settings of TrainingConfig that are no hyperparameters, by network.
        parameters: What each hyperparameter may be, by network.
        workers: Processes that train one trial.
        resources: What each of them gets.
        experiment: Where checkpoints lie.
        session: Name of the session that runs.
        losses: What `loss_registry.find` takes for each name of a loss.
        vgg: What the perceptual loss needs.
        start: Object reference of the map that networks may start at, as `AffineMap.to_tensors`
            has it; None where none does.
    """

    images: Any
    training: Mapping[str, dict[str, Any]]
    parameters: Mapping[str, Mapping[str, Parameter]]
    workers: int
    resources: WorkerResources
    experiment: Experiment
    session: str
    losses: Mapping[str, str]
    vgg: StoredVgg16 | None
    start: Any

    @property
    def mixed_losses(self) -> bool:
        """Whether losses of several kinds are searched, which do not compare."""
        return len(self.losses) > 1


class StorageGoneError(Exception):
    """The storage is full, read-only or not there: no trial can go on. Takes what OSError takes."""


def failure_result(error: BaseException, epoch: int, text: str) -> dict[str, Any]:
    """Return what a trial that raised reports last.

    Args:
        error: What it raised.
        epoch: The last epoch that it reported, 0 before the first.
        text: The error for the tables.
    """
    result = {"epoch": max(1, epoch), OBJECTIVE: float("nan"), "error": None}
    if isinstance(error, StorageGoneError):
        return {**result, "stop_reason": "interrupted", "storage_problem": error.args}
    reason = "out_of_memory" if is_short_of_memory(error) else "error"
    return {**result, "stop_reason": reason, "error": cut(cleaned(text))}


def raise_for_ray(error: BaseException) -> NoReturn:
    """Raise an error again; where Ray could not pass on its text, another one with that text.

    Half characters in it would end the search, and megabytes would be copied again and again.
    """
    text = "".join(traceback.format_exception_only(error)).strip()
    kept = cut(cleaned(text))
    if kept == text:
        raise error
    raise RuntimeError(kept).with_traceback(error.__traceback__) from None


def group_cause(error: Any) -> BaseException | None:
    """Return what the training of a worker group raised; None when the group lost a process.

    Args:
        error: Ray's WorkerGroupError or ControllerError.
    """
    if isinstance(error, ray.train.ControllerError):
        failure = error.controller_failure
        if isinstance(failure, OSError) and failure.errno in UNWRITABLE:
            return StorageGoneError(*failure.args)
        return None
    raised: list[BaseException] = list(error.worker_failures.values())
    if any(type(one).__module__.startswith("ray.") for one in raised):
        return None
    for one in raised:
        # A worker fails so only because another one of its group is gone
        if not isinstance(one, torch.distributed.DistBackendError) and "gloo" not in str(one):
            return one
    return None


class TrialReporter:
    """One process of a trial, alone or a worker of a group: its device, and its way to the search.

    Attributes:
        alone: Whether the trial trains in this process only.
        workers: This process among those that train the trial.
        restarted: Whether Ray has started the trial again after a process of it died.
        facts: What each report says of the process beside the epoch.
        fallback: What the trial had to do without, and why; empty where it had all that was wanted.
        is_stopped: Whether the search has ended the trial: `report` did not return.
    """

    def __init__(self, setup: TrialSetup, usage: UsageSamples) -> None:
        """Begin a trial.

        Args:
            setup: What every trial has in common.
            usage: Samples of this process, of which each report takes what is new.
        """
        self._setup = setup
        self._usage = usage
        self._experiment = setup.experiment
        self._memory = PeakMemory(torch.device("cpu"))
        self._epoch = 0
        self.facts: dict[str, Any] = {}
        self.fallback = ""
        self.is_stopped = False
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
            device = torch.device("cuda:0")
            if not self.alone:
                from ray.train.torch import get_device  # takes 2.6 s, and only groups need it

                device = get_device()
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
        """Report an epoch, with the state after it. Never returns once the search has said stop.

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
                training.history[: record.epoch],
                training.config.goal,
                mixed_losses=self._setup.mixed_losses,
            ),
        }
        if self.workers.rank > 0 or record.epoch < len(training.history):
            self._send(metrics, None)
            return
        with tempfile.TemporaryDirectory() as directory:
            checkpoints.save(Path(directory), training.state_dict())
            self._send(metrics, directory)

    def report_failure(self, error: BaseException) -> None:
        """Report that the trial can't go on. The others do, if their storage is there."""
        result = failure_result(error, self._epoch, traceback.format_exc())
        self._send({**self.facts, **result}, None)

    def _send(self, metrics: dict[str, Any], directory: str | None) -> None:
        if samples := self._usage.take():
            metrics[USAGE] = samples
        checkpoint = tune.Checkpoint.from_directory(directory) if directory else None
        # Ray writes the checkpoint to the storage before it does anything else
        try:
            self._experiment.patiently(
                lambda: (tune if self.alone else ray.train).report(metrics, checkpoint=checkpoint)
            )
        except SystemExit:
            self.is_stopped = True
            raise
        except OSError as error:
            if error.errno not in UNWRITABLE and not is_refusal(error):
                raise
            raise StorageGoneError(*error.args) from error


def reached(history: Sequence[EpochRecord], goal: Goal, *, mixed_losses: bool) -> float:
    """Return the objective of a trial after these epochs; NaN where it can't be best.

    Args:
        history: Its epochs so far, at least one.
        goal: What is best.
        mixed_losses: Whether losses of several kinds are searched.
    """
    best = goal.best_epoch(vars(record) for record in history)
    if best is None or history[-1].stop_reason == "diverged":
        return float("nan")
    return float(goal.between(mixed_losses).objective(best))
