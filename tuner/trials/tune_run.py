"""Ray Tune, set up to run the proposed trials, and what ends all of them."""

import math
import os
import time
from typing import Any

import ray
from ray import tune
from ray.air._internal import usage
from ray.tune.execution import class_cache
from ray.tune.schedulers import TrialScheduler

from tuner import interrupts
from tuner.progress.recorder import Recorder
from tuner.storage.run_storage import trial_directory
from tuner.trials.proposals import Proposals
from tuner.trials.reporter import FAILURE_RETRIES, TrialSetup
from tuner.trials.scheduler import InOrder
from tuner.trials.trial import run_trial

# A worker group holds its own resources; the function that drives it must hold next to none. Ray
# rejects {"CPU": 0}, and {"CPU": 0.01} spoils exact fits.
DRIVER_OF_A_GROUP = {"node:__internal_head__": 0.001}


def _take_processes_that_are_there() -> None:
    """Give trials processes that Ray has started ahead, while the driver was still importing.

    Tune asks for others, with variables that processes of this machine have from the driver.
    """
    cache: Any = class_cache._ActorClassCache
    cache.get = lambda self, trial: self._cache.setdefault(trial, ray.remote(trial))


def _leave_out_usage_of_callbacks() -> None:
    """Keep Tune from counting callbacks for Ray's statistics, which are off.

    To tell them from its own it imports those for W&B, MLflow, Comet and Aim: 0.35 s.
    """
    usage.tag_callbacks = lambda callbacks: False


class SearchEnd(tune.Stopper):
    """Ends the search when its time is up, or when a trial can't use the storage: all would fail.

    Attributes:
        timed_out: Whether its time is up.
        storage_problem: What an OSError says of the storage; empty while it can be used.
    """

    def __init__(self, timeout_sec: float | None, started: float) -> None:
        """Count `timeout_sec` from `started`, by the monotonic clock; None is for ever."""
        self._end = math.inf if timeout_sec is None else started + timeout_sec
        self.timed_out = False
        self.storage_problem: tuple[Any, ...] = ()

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        self.storage_problem = self.storage_problem or result.get("storage_problem", ())
        return False

    def stop_all(self) -> bool:
        self.timed_out = self.timed_out or time.monotonic() >= self._end
        return self.timed_out or bool(self.storage_problem)


def run_trials(
    setup: TrialSetup,
    proposals: Proposals,
    recorder: Recorder,
    *,
    scheduler: TrialScheduler | None,
    end: SearchEnd,
    count: int,
    concurrency: int,
    local: bool,
    verbose: bool,
) -> None:
    """Run the proposed trials; return early when interrupted or when the time is up.

    Args:
        setup: What the trials have in common.
        proposals: Which trials come.
        recorder: What hears of them.
        scheduler: What stops trials early; None lets each come to its end.
        end: When to stop all of them.
        count: Number of proposals.
        concurrency: Trials at a time.
        local: Whether Ray was started by this command, and so with its environment.
        verbose: Whether Tune prints its own messages.

    Raises:
        OSError: The storage is full or read-only, or not there on a node.
    """
    os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(concurrency)  # else 1, with a searcher of ours
    _leave_out_usage_of_callbacks()
    if local and setup.workers == 1:
        _take_processes_that_are_there()
    bundle = setup.resources.named if setup.workers == 1 else DRIVER_OF_A_GROUP
    tuner = tune.Tuner(
        tune.with_resources(tune.with_parameters(run_trial, setup=setup), bundle),
        tune_config=tune.TuneConfig(
            num_samples=count,
            search_alg=proposals,
            scheduler=scheduler or InOrder(),
            reuse_actors=setup.workers == 1,
            trial_dirname_creator=lambda trial: trial_directory(trial.config["number"]),
        ),
        run_config=tune.RunConfig(
            name=setup.session,
            **setup.experiment.location(),
            verbose=1 if verbose else 0,
            stop=end,
            callbacks=[recorder],
            failure_config=tune.FailureConfig(max_failures=FAILURE_RETRIES),
            checkpoint_config=tune.CheckpointConfig(num_to_keep=2),
        ),
    )
    try:
        with interrupts.left_to_tune():
            tuner.fit()
    finally:
        recorder.close()
        if end.storage_problem:
            raise OSError(*end.storage_problem)
