"""Ray Tune, set up to run the proposed trials, and what ends all of them early."""

import math
import os
import time
from typing import Any

from ray import tune
from ray.tune.schedulers import TrialScheduler
from ray.tune.stopper import CombinedStopper

from tuner import interrupts
from tuner.progress.recorder import Recorder
from tuner.storage.experiment import trial_directory
from tuner.trials.proposals import Proposals
from tuner.trials.scheduler import InOrder
from tuner.trials.trial import run_trial
from tuner.trials.trial_setup import FAILURE_RETRIES, TrialSetup

# A worker group holds its own resources; the function that drives it must hold next to none. Ray
# rejects {"CPU": 0}, and {"CPU": 0.01} spoils exact fits.
DRIVER_OF_A_GROUP = {"node:__internal_head__": 0.001}


class Deadline(tune.Stopper):
    """Ends the search when its time is up."""

    def __init__(self, timeout_sec: float | None, started: float) -> None:
        """Count `timeout_sec` from `started`, by the monotonic clock; None is for ever."""
        self._end = math.inf if timeout_sec is None else started + timeout_sec
        self.passed = False

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        """Tune asks after every event."""
        self.passed = self.passed or time.monotonic() >= self._end
        return self.passed


class StorageGone(tune.Stopper):
    """Ends the search when a trial can't use the storage: all others would fail in turn."""

    def __init__(self) -> None:
        self._problem: tuple[Any, ...] = ()

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Tune asks for every result."""
        self._problem = self._problem or result.get("storage_problem", ())
        return False

    def stop_all(self) -> bool:
        """Tune asks after every event."""
        return bool(self._problem)

    def check(self) -> None:
        """Raise OSError when that has happened."""
        if self._problem:
            raise OSError(*self._problem)


def run_trials(
    setup: TrialSetup,
    proposals: Proposals,
    recorder: Recorder,
    *,
    scheduler: TrialScheduler | None,
    deadline: Deadline,
    count: int,
    concurrency: int,
    verbose: bool,
) -> None:
    """Run the proposed trials; return early when interrupted or when the time is up.

    Args:
        setup: What the trials have in common.
        proposals: Which trials come.
        recorder: What hears of them.
        scheduler: What stops trials early; None lets each come to its end.
        deadline: When to stop.
        count: Number of proposals.
        concurrency: Trials at a time.
        verbose: Whether Tune prints its own messages.

    Raises:
        OSError: The storage is full or read-only, or not there on a node.
    """
    os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(concurrency)  # else 1, with a searcher of ours
    bundle = setup.resources.named if setup.workers == 1 else DRIVER_OF_A_GROUP
    storage_gone = StorageGone()
    tuner = tune.Tuner(
        tune.with_resources(tune.with_parameters(run_trial, setup=setup), bundle),
        tune_config=tune.TuneConfig(
            num_samples=count,
            search_alg=proposals,
            scheduler=scheduler or InOrder(),  # type: ignore[no-untyped-call]
            reuse_actors=setup.workers == 1,
            trial_dirname_creator=lambda trial: trial_directory(trial.config["number"]),
        ),
        run_config=tune.RunConfig(
            name=setup.session,
            **setup.experiment.location(),
            verbose=1 if verbose else 0,
            stop=CombinedStopper(deadline, storage_gone),
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
        storage_gone.check()
