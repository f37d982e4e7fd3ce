"""What ends trials early: ASHA or the median rule, each with a memory that can be rebuilt."""

import copy
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, TrialScheduler

from analysis.audit.rules import FEWEST_OTHERS
from analysis.tables.files import Row
from trainables.goal import Goal
from tuner.settings import ASHA, MEDIAN, SearchConfig
from tuner.trials.reporter import OBJECTIVE


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


class Stopping(InOrder):
    """Stops trials by what those of the same network have reached, and knows trials by number.

    One network that learns slowly is not stopped by another that is quick. A trial that diverged
    or failed reports NaN and ends itself: it is compared with none.
    """

    def __init__(self, goal: Goal, *, max_epochs: int, mixed_losses: bool, **more: Any) -> None:
        """Begin without any trial.

        Args:
            goal: What is best.
            max_epochs: Epochs of a trial that nothing stops.
            mixed_losses: Whether losses of several kinds are searched, which do not compare.
            more: What the scheduler of Ray's takes that is inherited beside this one.
        """
        self._goal, self._ranks = goal, goal.between(mixed_losses)
        self._max_epochs = max_epochs
        super().__init__(**more)

    def replay(self, epochs: Iterable[Row], models: Mapping[int, str]) -> set[int]:
        """Hear the rows of an epochs table in their order; return the trials that were stopped.

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
            decision = self.on_trial_result(None, trial, {**row, OBJECTIVE: value})
            if decision == TrialScheduler.STOP and row["epoch"] < self._max_epochs:
                stopped.add(number)
        return stopped


class Rungs(Stopping, ASHAScheduler):
    """Ray's ASHA, with rungs for each network."""

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
        super().__init__(
            goal,
            max_epochs=max_epochs,
            mixed_losses=mixed_losses,
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


def _numbered(number: int) -> Any:
    """All that ASHA knows of a trial."""
    return SimpleNamespace(trial_id=number)


class Medians(Stopping):
    """The median stopping rule of Golovin et al., "Google Vizier", KDD 2017, section 3.2.2.

    A trial is stopped after an epoch where its best so far is worse than the median of the other
    trials' running averages up to that epoch. The others are all that have come as far, as in
    Ray's MedianStoppingRule; Vizier takes those that have ended, of which a search that has just
    begun has none. Ray's class is not used: it pauses trials while there are too few others, and
    counts the last epoch of an ended trial twice.
    """

    def __init__(
        self, goal: Goal, *, max_epochs: int, grace_epochs: int, mixed_losses: bool
    ) -> None:
        """Begin without any average.

        Args:
            goal: What is best.
            max_epochs: Epochs of a trial that nothing stops.
            grace_epochs: Epochs before a trial may be stopped.
            mixed_losses: Whether losses of several kinds are searched, which do not compare.
        """
        super().__init__(goal, max_epochs=max_epochs, mixed_losses=mixed_losses)
        self._grace_epochs = grace_epochs
        # By network and epoch, of each trial that has come so far
        self._averages: dict[tuple[str, int], dict[int, float]] = defaultdict(dict)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Say whether the trial goes on."""
        best = result[OBJECTIVE]
        if math.isnan(best):
            return str(TrialScheduler.CONTINUE)
        number, model, epoch = _number(trial), trial.config["model"], result["epoch"]
        reached = float(self._ranks.objective(result))
        if not math.isfinite(reached):
            reached = best  # a metric that is not defined in this epoch was in another
        before = self._averages[model, epoch - 1].get(number, reached)
        averages = self._averages[model, epoch]
        averages[number] = before + (reached - before) / epoch
        others = [average for other, average in averages.items() if other != number]
        if epoch < self._grace_epochs or len(others) < FEWEST_OTHERS or best <= np.median(others):
            return str(TrialScheduler.CONTINUE)
        return str(TrialScheduler.STOP)


def scheduler_of(config: SearchConfig, goal: Goal) -> Stopping | None:
    """Return what stops the trials of a search; None lets each come to its end.

    Args:
        config: The settings, complete.
        goal: What is best.
    """
    more: dict[str, Any] = {
        "max_epochs": config.max_epochs or 1,
        "grace_epochs": config.grace_epochs,
        "mixed_losses": config.mixed_losses,
    }
    if config.scheduler == ASHA:
        return Rungs(goal, reduction_factor=config.reduction_factor, **more)
    return Medians(goal, **more) if config.scheduler == MEDIAN else None
