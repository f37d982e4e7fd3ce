"""Ray Tune, set up to run the proposed trials: ASHA with rungs to rebuild, and what ends all."""

import copy
import math
import os
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from types import SimpleNamespace
from typing import Any

import ray
from ray import tune
from ray.tune.execution import class_cache
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, TrialScheduler

from analysis.tables.files import Row
from trainables.goal import Goal
from tuner import interrupts
from tuner.progress.recorder import Recorder
from tuner.storage.run_storage import trial_directory
from tuner.trials.proposals import Proposals
from tuner.trials.reporter import FAILURE_RETRIES, OBJECTIVE, TrialSetup
from tuner.trials.trial import run_trial

# A worker group holds its own resources; the function that drives it must hold next to none. Ray
# rejects {"CPU": 0}, and {"CPU": 0.01} spoils exact fits.
DRIVER_OF_A_GROUP = {"node:__internal_head__": 0.001}


class InOrder(FIFOScheduler):
    """Whatever waits for a slot gets one in the order of the trials' numbers.

    Tune would let a trial whose process died wait behind those that have not begun. What waits, and
    for which trial, is known only to Tune's own controller.
    """

    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        """Return the trial to start next; Tune calls this before it gives free slots away."""
        controller = tune_controller._tune_controller
        if "_try_start_actors" not in vars(controller._actor_manager):
            _start_in_order(controller)
        return min(controller._pending_trials, key=_number, default=None)


def _start_in_order(controller: Any) -> None:
    """Order what waits whenever slots are given away. At another moment it may come too late."""
    manager = controller._actor_manager
    start = manager._try_start_actors

    def ordered(max_actors: int | None = None) -> Any:
        for waiting in manager._resource_request_to_pending_actors.values():
            waiting.sort(key=lambda actor: _number(controller._actor_to_trial[actor]))
        return start(max_actors)

    manager._try_start_actors = ordered


def _number(trial: Any) -> int:
    return int(trial.config["number"])


class Rungs(InOrder, ASHAScheduler):
    """Ray's ASHA with trials known by their numbers, which the tables have too.

    Each network has rungs of its own: one that learns slowly is not stopped by one that is quick. A
    trial that diverged or failed reports NaN and ends itself: it never enters a rung.
    """

    def __init__(
        self,
        goal: Goal,
        *,
        max_epochs: int,
        grace_epochs: int,
        reduction_factor: float,
        mixed_losses: bool,
    ) -> None:
        """Make empty rungs.

        Args:
            goal: What is best.
            max_epochs: Epochs of a trial that nothing stops.
            grace_epochs: Epochs before a trial may be stopped.
            reduction_factor: One trial in this many goes on at each rung.
            mixed_losses: Whether losses of several kinds are searched, which do not compare.
        """
        self._goal, self._ranks = goal, goal.between(mixed_losses)
        super().__init__(
            time_attr="epoch",
            metric=OBJECTIVE,
            mode="min",
            max_t=max_epochs,
            grace_period=grace_epochs,
            reduction_factor=reduction_factor,
        )
        (empty,) = self._brackets
        self._rungs: dict[str, Any] = defaultdict(lambda: copy.deepcopy(empty))

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """Let a trial enter the rungs of its network."""
        self._trial_info[_number(trial)] = self._rungs[trial.config["model"]]

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Say whether the trial goes on."""
        if math.isnan(result[OBJECTIVE]):
            return str(TrialScheduler.CONTINUE)
        return str(super().on_trial_result(tune_controller, _numbered(_number(trial)), result))

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """A trial has ended by itself; its results are in the rungs already."""
        self.on_trial_remove(tune_controller, trial)

    def on_trial_remove(self, tune_controller: Any, trial: Any) -> None:
        """A trial is gone; its results stay in the rungs."""
        super().on_trial_remove(tune_controller, _numbered(_number(trial)))

    def replay(self, epochs: Iterable[Row], models: Mapping[int, str]) -> set[int]:
        """Enter the rows of an epochs table in their order; return the trials that ASHA stopped.

        Args:
            epochs: Rows of trials of the search.
            models: The network of each of these trials.
        """
        best: dict[int, Row | None] = {}
        stopped = set()
        for row in epochs:
            number = row["trial"]
            trial = SimpleNamespace(config={"number": number, "model": models[number]})
            if number not in best:
                self.on_trial_add(None, trial)
            best[number] = self._goal.best_epoch(filter(None, (best.get(number), row)))
            diverged = not math.isfinite(row["validation_loss"] + row["train_loss"])
            is_nowhere = diverged or best[number] is None
            value = math.nan if is_nowhere else self._ranks.objective(best[number])
            result = {"epoch": row["epoch"], OBJECTIVE: value}
            stops = self.on_trial_result(None, trial, result) == TrialScheduler.STOP
            if stops and row["epoch"] < self._max_t:
                stopped.add(number)
        return stopped


def _numbered(number: int) -> Any:
    """All that ASHA knows of a trial."""
    return SimpleNamespace(trial_id=number)


def _take_processes_that_are_there() -> None:
    """Give trials processes that Ray has started ahead, while the driver was still importing.

    Tune asks for others, with variables that processes of this machine have from the driver.
    """
    cache: Any = class_cache._ActorClassCache
    cache.get = lambda self, trial: self._cache.setdefault(trial, ray.remote(trial))


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
