"""A trial: Ray Train's TorchTrainer around trainables.training.loop, inside a Tune function.

One worker trains in the trial's own process (Train's local mode), which Tune uses again for the
next trial. Several are a worker group of Ray Train, with the process group over which gradients are
added up.
"""

import os
import time
from dataclasses import replace
from itertools import chain
from typing import Any

import psutil
import ray.train
import torch
from ray import tune

from analysis.tables.table_sources import is_refusal
from trainables.data.examples import Examples
from trainables.hyperparameters import said_of, training_values, values_of
from trainables.linear import AffineMap
from trainables.training.gradients import compile_problem
from trainables.training.loop import EpochRecord, Training, TrainingConfig
from tuner.cluster.nodes import this_node_name
from tuner.cluster.object_store import from_store
from tuner.storage import checkpoints
from tuner.storage.run_storage import MARK, UNWRITABLE, answer_mark, trial_directory
from tuner.trials.reporter import (
    Proposal,
    StorageGoneError,
    TrialReporter,
    TrialSetup,
    failure_result,
    group_cause,
    raise_for_ray,
)
from tuner.trials.usage_samples import UsageSamples

_process = {"trials": 0, "free_since": psutil.Process().create_time()}
_usage = UsageSamples()


def run_trial(config: Proposal, setup: TrialSetup) -> None:
    """Run one trial: the function that Ray Tune calls."""
    from ray.train.torch import TorchTrainer  # takes 2.6 s, and the driver never calls this

    loop_config = {"proposal": config, "setup": setup}
    if setup.workers == 1:
        scaling = ray.train.ScalingConfig(num_workers=0)
        TorchTrainer(train_loop, train_loop_config=loop_config, scaling_config=scaling).fit()
        return
    from ray.tune.integration.ray_train import TuneReportCallback

    report_to_tune: Any = TuneReportCallback()
    group = TorchTrainer(
        train_loop,
        train_loop_config=loop_config,
        scaling_config=ray.train.ScalingConfig(
            num_workers=setup.workers,
            use_gpu=setup.resources.gpus > 0,
            resources_per_worker=setup.resources.named,
        ),
        run_config=ray.train.RunConfig(
            name=trial_directory(config["number"]),  # the same after a restart: it resumes by it
            **setup.experiment.location(setup.session),
            callbacks=[report_to_tune],
            # Tune starts it again, and counts
            failure_config=ray.train.FailureConfig(max_failures=0),
            checkpoint_config=ray.train.CheckpointConfig(num_to_keep=2),
        ),
    )
    try:
        group.fit()
    except (ray.train.WorkerGroupError, ray.train.ControllerError) as error:
        cause = group_cause(error)
        if cause is None:
            raise  # a process or a node died: Tune starts the trial again
        tune.report(failure_result(cause, 1, str(error)))


def train_loop(loop_config: dict[str, Any]) -> None:
    """Train one trial in this process, reporting each epoch with a checkpoint."""
    proposal: Proposal = loop_config["proposal"]
    setup: TrialSetup = loop_config["setup"]
    reporter = TrialReporter(setup, _usage)
    try:
        if not _process["trials"]:
            _check_storage(setup)
        _train(reporter, proposal, setup)
    except (Exception, SystemExit, KeyboardInterrupt) as error:  # a network may raise any of them
        if reporter.is_stopped:
            raise
        if not reporter.alone:
            raise_for_ray(error)  # the other workers wait for this one: the whole group must end
        reporter.report_failure(error)
    finally:
        _usage.stop()
        _process["trials"] += 1
        _process["free_since"] = time.time()


def _check_storage(setup: TrialSetup) -> None:
    """Raise StorageGoneError on a node that does not share the storage.

    The node may have joined after all nodes were asked.
    """
    experiment = setup.experiment
    session = f"{experiment.root}/{setup.session}"
    try:
        experiment.patiently(lambda: answer_mark(experiment.files, session))
    except OSError as error:
        if error.errno in UNWRITABLE:
            raise StorageGoneError(*error.args) from error
        if not isinstance(error, FileNotFoundError | PermissionError) and not is_refusal(error):
            raise  # it may be there for the next trial
        missing = isinstance(error, FileNotFoundError)
        reason = f"no {setup.session}/{MARK} there" if missing else error
        raise StorageGoneError(
            f"the node {this_node_name()} does not share "
            f"{experiment.address(experiment.root)} ({reason}); "
            f"mount it there for writing, or give --storage a bucket that all may write to"
        ) from error


def _train(reporter: TrialReporter, proposal: Proposal, setup: TrialSetup) -> None:
    start = _process["free_since"]
    device = reporter.prepare_device()
    _usage.start(device)
    stored = from_store(setup.images)
    model = proposal["model"]
    config = TrainingConfig(
        **training_values(values_of(setup.parameters[model], said_of(proposal))),
        seed=proposal["seed"],
        loss=setup.losses[proposal["loss"]],
        **setup.training[model],
    )
    problem = compile_problem() if config.compiled else ""
    if problem:
        config = replace(config, compiled=False)
        reporter.fallback = f"without torch.compile ({problem})"
    training = Training(
        config,
        Examples(stored["train_images"], stored["train_targets"]),
        Examples(stored["validation_images"], stored["validation_targets"]),
        device=device,
        workers=reporter.workers,
        vgg=setup.vgg.load() if setup.vgg and config.loss == "perceptual" else None,
        start=_start_map(setup),
    )
    state, damaged = checkpoints.newest(setup.experiment, reporter.checkpoints(proposal))
    unheard: list[EpochRecord] = []
    if state is not None:
        training.load_state_dict(state)
        # The last epoch is always reported again, since it may have been the one that ended it
        last = len(training.history) - 1
        known = last if reporter.restarted else min(proposal["known_epochs"], last)
        unheard = training.history[known:]
    reporter.facts = {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "precision": training.precision.name,
        "precision_reason": training.precision.reason,
        "compiled": config.compiled,
        "threads": torch.get_num_threads(),
        "host": os.uname().nodename,
        "start_sec": time.time() - start,
        "reused_process": _process["trials"] > 0,
        "process": os.getpid(),
    }
    if damaged:  # otherwise the table keeps what it says of an earlier start
        reporter.facts["damaged_checkpoint"] = damaged
    for record in chain(unheard, training.epochs()):
        reporter.report(record, training)


def _start_map(setup: TrialSetup) -> AffineMap | None:
    """Return the map that a network may start at, in memory of its own.

    A network may keep its tensors as parameters, and nobody may write to the store.
    """
    if setup.start is None:
        return None
    stored = from_store(setup.start)
    return AffineMap.from_tensors({name: tensor.clone() for name, tensor in stored.items()})
