"""A trial: Ray Train's TorchTrainer around trainables.training.loop, inside a Tune function.

One worker trains in the trial's own process (Train's local mode), which Tune uses again for the next
trial. Several are a worker group of Ray Train, with the process group that gradients are added up over.
"""

import os
import tempfile
import time
import traceback
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import psutil
import ray
import ray.train
import torch
from ray import tune

from analysis.tables.ranking import best_epoch, objective
from analysis.tables.table_sources import is_refusal
from trainables.data.examples import Examples
from trainables.peak_memory import PeakMemory
from trainables.training import compiling
from trainables.training.loop import EpochRecord, Training, TrainingConfig
from trainables.training.out_of_memory import is_short_of_memory
from trainables.training.workers import Workers
from tuner.cluster.nodes import WorkerResources, this_node, this_node_name
from tuner.cluster.object_store import StoredVgg16, from_store
from tuner.storage import checkpoints
from tuner.storage.experiment import MARKER, UNWRITABLE, Experiment, trial_directory

OBJECTIVE = "objective"  # of the best epoch so far, as `analysis.tables.ranking` has it; NaN for a trial that can't be best
FAILURE_RETRIES = 5  # starts of a trial whose process died, with no epoch in between

Proposal = dict[str, Any]

_process = {"trials": 0, "free_since": psutil.Process().create_time()}


@dataclass(frozen=True)
class Shared:
    """What every trial of a search has in common."""

    examples: Any
    """Object reference: images and targets of the training and the validation images."""
    training: dict[str, Any]
    """Settings of TrainingConfig that are not searched."""
    workers: int
    resources: WorkerResources
    """Of each of them."""
    experiment: Experiment
    session: str
    """The name of the one that runs."""
    several_losses: bool
    """Whether trials are compared by something else than their losses."""
    vgg: StoredVgg16 | None
    """What the perceptual loss needs."""


class StorageGoneError(Exception):
    """The storage is full, read-only or not there, so that no search can go on; with what OSError takes."""


def run_trial(config: Proposal, shared: Shared) -> None:
    """The function that Ray Tune runs."""
    from ray.train.torch import TorchTrainer

    loop_config = {"proposal": config, "shared": shared}
    if shared.workers == 1:
        scaling = ray.train.ScalingConfig(num_workers=0)
        TorchTrainer(train_loop, train_loop_config=loop_config, scaling_config=scaling).fit()
        return
    from ray.tune.integration.ray_train import TuneReportCallback

    report_to_tune: Any = TuneReportCallback()
    group = TorchTrainer(
        train_loop,
        train_loop_config=loop_config,
        scaling_config=ray.train.ScalingConfig(
            num_workers=shared.workers,
            use_gpu=shared.resources.gpus > 0,
            resources_per_worker=shared.resources.named,
        ),
        run_config=ray.train.RunConfig(
            name=trial_directory(config["number"]),  # the same after a restart: it resumes by it
            **shared.experiment.location(shared.session),
            callbacks=[report_to_tune],
            failure_config=ray.train.FailureConfig(
                max_failures=0
            ),  # Tune starts it again, and counts
            checkpoint_config=ray.train.CheckpointConfig(num_to_keep=2),
        ),
    )
    try:
        group.fit()
    except (ray.train.WorkerGroupError, ray.train.ControllerError) as error:
        cause = _cause(error)
        if cause is None:
            raise  # a process or a node died: Tune starts the trial again
        tune.report(_failure(cause, 1, str(error)))


def _cause(error: Any) -> BaseException | None:
    """What a group's training raised by itself; None when the group lost one of its processes."""
    if isinstance(error, ray.train.ControllerError):
        failure = error.controller_failure
        if isinstance(failure, OSError) and failure.errno in UNWRITABLE:
            return StorageGoneError(*failure.args)
        return None
    raised = list(error.worker_failures.values())
    if any(type(one).__module__.startswith("ray.") for one in raised):
        return None
    return next((one for one in raised if not _is_of_another(one)), None)


def _is_of_another(error: BaseException) -> bool:
    """Whether a worker failed only because another one of its group was gone."""
    return isinstance(error, torch.distributed.DistBackendError) or "gloo" in str(error)


def _failure(error: BaseException, epoch: int, text: str) -> dict[str, Any]:
    """What the search is told of a trial that raised, after so many epochs."""
    told = {"epoch": max(1, epoch), "stop_reason": "error", "error": text, OBJECTIVE: float("nan")}
    if isinstance(error, StorageGoneError):
        return {**told, "stop_reason": "interrupted", "error": None, "storage_problem": error.args}
    if is_short_of_memory(error):
        told["stop_reason"] = "out_of_memory"
    return told


def train_loop(loop_config: dict[str, Any]) -> None:
    """Train one trial in this process, reporting each epoch with a checkpoint."""
    proposal: Proposal = loop_config["proposal"]
    shared: Shared = loop_config["shared"]
    session = Session(shared)
    try:
        _prove_storage(shared)
        _train(session, proposal, shared)
    except Exception as error:
        if not session.alone:
            raise  # the other workers wait for this one: the whole group must end
        session.report_failure(error)
    finally:
        _process["trials"] += 1
        _process["free_since"] = time.time()


def _prove_storage(shared: Shared) -> None:
    """Raises StorageGoneError on a node that does not share it: it may have joined after all nodes were asked."""
    if _process["trials"]:
        return
    try:
        shared.experiment.prove(shared.session, this_node())
    except OSError as error:
        if error.errno in UNWRITABLE:
            raise StorageGoneError(*error.args) from error
        if not isinstance(error, FileNotFoundError | PermissionError) and not is_refusal(error):
            raise  # it may be there for the next trial
        node, root = (
            this_node_name(),
            shared.experiment.address(shared.experiment.root),
        )
        reason = (
            f"no {shared.session}/{MARKER} there" if isinstance(error, FileNotFoundError) else error
        )
        raise StorageGoneError(
            f"the node {node} does not share {root} ({reason}); "
            f"mount it there for writing, or give --storage a bucket that all may write to"
        ) from error


def _train(session: "Session", proposal: Proposal, shared: Shared) -> None:
    start = _process["free_since"]
    device = session.prepare_device()
    stored = from_store(shared.examples)
    train = Examples(stored["train_images"], stored["train_targets"])
    validation = Examples(stored["validation_images"], stored["validation_targets"])
    config = TrainingConfig(
        learning_rate=proposal["learning_rate"],
        dropout=proposal["dropout"] or 0.0,
        patience=proposal["patience"],
        seed=proposal["seed"],
        loss=proposal["loss"],
        **shared.training,
    )
    compile_problem = compiling.problem() if config.compiled else ""
    if compile_problem:
        config = replace(config, compiled=False)
        session.fallback = f"without torch.compile ({compile_problem})"
    vgg = shared.vgg.load() if shared.vgg and config.loss == "perceptual" else None
    training = Training(config, train, validation, device=device, workers=session.workers, vgg=vgg)
    restored = checkpoints.newest(shared.experiment, session.checkpoints(proposal))
    unheard = _load(training, restored.state, proposal, restarted=session.restarted)
    session.facts = {
        "device": _device_name(device),
        "precision": training.precision.name,
        "precision_reason": training.precision.reason,
        "compiled": config.compiled,
        "threads": torch.get_num_threads(),
        "host": os.uname().nodename,
        "start_sec": time.time() - start,
        "reused_process": _process["trials"] > 0,
        "process": os.getpid(),
    }
    if restored.damaged:  # otherwise the table keeps what it says of an earlier start
        session.facts["damaged_checkpoint"] = restored.damaged
    for record in unheard:
        session.report(record, training)
    for record in training.epochs():
        session.report(record, training)


def reached(history: Sequence[EpochRecord], *, mixed_losses: bool) -> float:
    """The objective of a trial after these epochs; `mixed_losses`: losses of several kinds are searched."""
    best = best_epoch(vars(record) for record in history)
    if best is None or history[-1].stop_reason == "diverged":
        return float("nan")
    return float(objective(best, mixed_losses=mixed_losses))


def _load(
    training: Training, state: dict[str, Any] | None, proposal: Proposal, *, restarted: bool
) -> list[EpochRecord]:
    """Go on from a state; the epochs in it that the search may not have heard of.

    The last epoch is always told again, since it may have been the one that ended the trial.
    """
    if state is None:
        return []
    training.load_state_dict(state)
    last = len(training.history) - 1
    return training.history[last if restarted else min(proposal["known_epochs"], last) :]


class Session:
    """What differs between a trial that trains alone in its process and a worker of a group."""

    def __init__(self, shared: Shared) -> None:
        self.experiment = shared.experiment
        self.alone = shared.workers == 1
        self.resources = shared.resources
        self.several_losses = shared.several_losses
        self.facts: dict[str, Any] = {}
        self.fallback = ""
        """What the trial had to do without, and why; empty where it had all that was wanted."""
        self._memory = PeakMemory(torch.device("cpu"))
        self._epoch = 0
        if self.alone:
            self.workers = Workers()
        else:
            context = ray.train.get_context()
            self.workers = Workers(context.get_world_rank(), context.get_world_size())
        # Ray gives a checkpoint to a trial whose process died and that it has started again
        self.restarted = (tune if self.alone else ray.train).get_checkpoint() is not None

    def prepare_device(self) -> torch.device:
        """This worker's device, limited to its share: threads on a CPU, memory on a GPU."""
        torch.set_num_threads(self.resources.threads)
        # A process without a share of a GPU still sees every one of them: Ray's word counts, not CUDA's
        if not ray.get_gpu_ids():
            self._memory.reset()
            return torch.device("cpu")
        device = torch.device("cuda:0") if self.alone else ray.train.torch.get_device()
        self._memory = PeakMemory(device)
        self._memory.reset()
        if self.resources.gpus < 1:
            torch.cuda.set_per_process_memory_fraction(self.resources.gpus, device)
        return device

    def checkpoints(self, proposal: Proposal) -> list[str]:
        """Directories of this trial's checkpoints, newest first.

        After a restart Ray offers only the last one, which may be the one that was being written: those of this
        session are looked up, so that there is one before it.
        """
        if not self.restarted:
            return list(proposal["checkpoints"])
        return self.experiment.patiently(lambda: self.experiment.checkpoints(proposal["number"]))

    def report(self, record: EpochRecord, training: Training) -> None:
        """Tell the search of an epoch, with the state after it. Never returns once ASHA has said stop.

        What is told late comes without, but for the last: a trial that dies in between begins to tell anew.
        """
        self._epoch = record.epoch
        metrics = {
            **asdict(record),
            **self.facts,
            "peak_mib": self._memory.mib(),
            "perceptual_batch": training.perceptual_batch,
            "fallback": f"without CUDA graphs ({problem})"
            if (problem := training.graph_problem)
            else self.fallback,
            OBJECTIVE: reached(training.history[: record.epoch], mixed_losses=self.several_losses),
        }
        if self.workers.rank > 0 or record.epoch < len(training.history):
            self._send(metrics, None)
            return
        with tempfile.TemporaryDirectory() as directory:
            checkpoints.save(Path(directory), training.state_dict())
            self._send(metrics, directory)

    def report_failure(self, error: Exception) -> None:
        """Tell the search that the trial can't go on. Its other trials are not touched, if its storage is there."""
        self._send({**self.facts, **_failure(error, self._epoch, traceback.format_exc())}, None)

    def _send(self, metrics: dict[str, Any], directory: str | None) -> None:
        checkpoint = tune.Checkpoint.from_directory(directory) if directory else None
        # Ray writes the checkpoint to the storage before it does anything else
        try:
            self.experiment.patiently(
                lambda: (tune if self.alone else ray.train).report(metrics, checkpoint=checkpoint)
            )
        except OSError as error:
            if error.errno not in UNWRITABLE and not is_refusal(error):
                raise
            raise StorageGoneError(*error.args) from error


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
