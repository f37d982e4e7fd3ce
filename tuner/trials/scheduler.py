"""Ray Tune: ASHA over numbered trials, as many at a time as fit, from the tables on after a resume."""

import math
import os
import time
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

from ray import tune
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, TrialScheduler
from ray.tune.stopper import CombinedStopper

from analysis.tables.files import Row
from analysis.tables.ranking import best_epoch, objective
from tuner import interrupts
from tuner.cluster.nodes import WorkerResources
from tuner.progress.recorder import FINISHED, Recorder
from tuner.settings import SearchConfig
from tuner.storage.experiment import trial_directory
from tuner.trials.proposals import Proposals, proposal, tpe
from tuner.trials.space import Space
from tuner.trials.trial import FAILURE_RETRIES, OBJECTIVE, Proposal, Shared, run_trial

HYPERPARAMETERS = ("learning_rate", "dropout", "patience", "loss")
# A worker group holds its own resources; the function that drives it must hold next to none. Ray rejects
# {"CPU": 0}, and {"CPU": 0.01} spoils exact fits.
DRIVER_OF_A_GROUP = {"node:__internal_head__": 0.001}


class InOrder(FIFOScheduler):
    """Whatever waits for a place gets one in the order of the trials' numbers.

    Tune would let a trial whose process died wait behind those that have not begun. What waits, and for which trial,
    is known only to Tune's own controller.
    """

    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        """The one to ask for a place next; Tune calls this before it gives away those that are free."""
        controller = tune_controller._tune_controller
        if "_try_start_actors" not in vars(controller._actor_manager):
            _start_in_order(controller)
        return min(controller._pending_trials, key=_number, default=None)


def _start_in_order(controller: Any) -> None:
    """From now on, whenever places are free. Ordering what waits at another moment may come too late."""
    manager = controller._actor_manager
    start = manager._try_start_actors

    def ordered(max_actors: int | None = None) -> Any:
        for waiting in manager._resource_request_to_pending_actors.values():
            waiting.sort(key=lambda actor: _number(controller._actor_to_trial[actor]))
        return start(max_actors)

    manager._try_start_actors = ordered


def _number(trial: Any) -> int:
    number: int = trial.config["number"]
    return number


class Rungs(InOrder, ASHAScheduler):
    """Ray's ASHA with trials known by their numbers, so that its rungs can be rebuilt from the tables.

    A trial that diverged or failed reports NaN and ends itself: it never enters a rung.
    """

    def __init__(self, config: SearchConfig) -> None:
        self._several = config.mixed_losses
        super().__init__(
            time_attr="epoch",
            metric=OBJECTIVE,
            mode="min",
            max_t=config.max_epochs or 1,
            grace_period=config.grace_epochs,
            reduction_factor=config.reduction_factor,
        )

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """A trial exists."""
        super().on_trial_add(tune_controller, _numbered(_number(trial)))

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Whether the trial goes on."""
        if math.isnan(result[OBJECTIVE]):
            return str(TrialScheduler.CONTINUE)
        return str(super().on_trial_result(tune_controller, _numbered(_number(trial)), result))

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """A trial has ended by itself; its results are in the rungs already."""
        self.on_trial_remove(tune_controller, trial)

    def on_trial_remove(self, tune_controller: Any, trial: Any) -> None:
        """A trial is gone; its results stay in the rungs."""
        super().on_trial_remove(tune_controller, _numbered(_number(trial)))

    def replay(self, epochs: Iterable[Row]) -> set[int]:
        """Enter the rows of an epochs table in their order; the numbers of the trials that ASHA stopped."""
        best: dict[int, Row | None] = {}
        stopped = set()
        for row in epochs:
            number = row["trial"]
            trial = SimpleNamespace(config={"number": number})
            if number not in best:
                self.on_trial_add(None, trial)
            best[number] = best_epoch(filter(None, (best.get(number), row)))
            diverged = best_epoch([row]) is None
            value = math.nan if diverged else objective(best[number], mixed_losses=self._several)
            result = {"epoch": row["epoch"], OBJECTIVE: value}
            if (
                self.on_trial_result(None, trial, result) == TrialScheduler.STOP
                and row["epoch"] < self._max_t
            ):
                stopped.add(number)
        return stopped


def _numbered(number: int) -> Any:
    """All that ASHA knows of a trial."""
    return SimpleNamespace(trial_id=number)


class Deadline(tune.Stopper):
    """Ends the search when its time is up."""

    def __init__(self, timeout_sec: float | None, started: float) -> None:
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
        """Raises OSError when that has happened."""
        if self._problem:
            raise OSError(*self._problem)


def searched_trials(
    config: SearchConfig, earlier: list[Row], stopped: set[int], fits: int
) -> Proposals:
    """The trials of the search that are still to do: unfinished ones of earlier sessions, then new ones.

    `stopped` are those that ASHA had stopped when the driver died before writing so.
    """
    space = Space.of(config.model, config.ranges, config.losses)
    of_search = [row for row in earlier if row["repeat_of"] is None]
    finished = [
        row for row in of_search if row["stop_reason"] in FINISHED or row["trial"] in stopped
    ]
    searcher = None
    if config.search == "tpe":
        found = [({k: row[k] for k in HYPERPARAMETERS}, _reached(config, row)) for row in finished]
        searcher = tpe(space, config.seed, found)
    done = {row["trial"] for row in finished}
    known = {
        row["trial"] for row in of_search
    }  # a killed search may have started a trial before the one before it
    return Proposals(
        [go_on(config, row) for row in of_search if row["trial"] not in done],
        space=space,
        seed=config.seed,
        numbers=[number for number in range(config.samples or 0) if number not in known],
        live_limit=_live_limit(config, fits),
        tpe=searcher,
    )


def _reached(config: SearchConfig, row: Row) -> float:
    """What a trial's last report told TPE; NaN where it got through no epoch."""
    if row["best_validation_loss"] is None:
        return math.nan
    return float(objective(row, mixed_losses=config.mixed_losses, of="best_"))


def _live_limit(config: SearchConfig, fits: int) -> int | None:
    """How many trials may be proposed and unfinished.

    Where resources hold the number down anyway, one more may wait: Tune keeps a process for the next
    trial only if that trial is there when the last one ends. What drives a worker group holds none.
    """
    concurrency = config.concurrency or fits
    if concurrency < fits or config.workers_per_trial > 1:
        return concurrency
    return concurrency + 1 if config.search == "tpe" else None


def go_on(config: SearchConfig, row: Row) -> Proposal:
    """The proposal of an earlier session's trial, with its checkpoints."""
    return proposal(
        row["trial"],
        {name: row[name] for name in HYPERPARAMETERS},
        row["seed"],
        repeat_of=row["repeat_of"],
        checkpoints=config.run_storage.experiment.checkpoints(row["trial"]),
        known_epochs=row["epochs"],
    )


def run_trials(
    config: SearchConfig,
    shared: Shared,
    proposals: Proposals,
    recorder: Recorder,
    scheduler: TrialScheduler | None,
    resources: WorkerResources,
    deadline: Deadline,
    count: int,
    fits: int,
) -> None:
    """Run the proposed trials, `count` in all, as many at once as fit; returns early when interrupted.

    Raises OSError when the storage is full or read-only, or not there on a node.
    """
    os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(
        config.concurrency or fits
    )  # a searcher of ours gets 1 otherwise
    bundle = resources.named if shared.workers == 1 else DRIVER_OF_A_GROUP
    storage_gone = StorageGone()
    tuner = tune.Tuner(
        tune.with_resources(tune.with_parameters(run_trial, shared=shared), bundle),
        tune_config=tune.TuneConfig(
            num_samples=count,
            search_alg=proposals,
            scheduler=scheduler or InOrder(),  # type: ignore[no-untyped-call]
            reuse_actors=shared.workers == 1,
            trial_dirname_creator=lambda trial: trial_directory(trial.config["number"]),
        ),
        run_config=tune.RunConfig(
            name=shared.session,
            **shared.experiment.location(),
            verbose=1 if config.verbose else 0,
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
