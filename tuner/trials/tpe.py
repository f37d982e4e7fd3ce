"""Optuna's TPE, asked for hyperparameters and told how the trials ended."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import optuna
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial

from analysis.tables.ranking import FAILED, STOPPED
from trainables.training.seeds import derive_seed
from tuner.settings import TPE_MEMORY
from tuner.trials.space import Drawn, Space

COMPLETE, PRUNED, FAIL = TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL
# TPE takes so many trials at most for good ones; they stay when the others are thinned out
MOST_GOOD = 25


class Tpe:
    """The trials of one network as Optuna has them, and where it draws the next from.

    A trial that was stopped is pruned, with its last epoch and what it had reached by then: TPE
    ranks it behind those that came to their end, and among its like the one that came further is
    better. One that diverged is pruned without a value, and so the worst. One that failed says
    nothing of its hyperparameters. Trials that still run are kept away from.
    """

    def __init__(
        self,
        space: Space,
        seed: int,
        finished: Iterable[tuple[Drawn, str, int, float]] = (),
        *,
        startup_trials: int,
    ) -> None:
        """Begin with what earlier sessions found.

        Args:
            space: What to draw from.
            seed: The search's.
            finished: Of each trial its hyperparameters, stop reason, epochs and objective.
            startup_trials: Trials that must have ended before it is to be asked.
        """
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._space = space
        self._distributions = space.distributions()
        self._seed = seed
        self._startup_trials = startup_trials
        self._running: dict[str, Trial] = {}
        history = [self._frozen(*one) for one in finished]
        self._known = len(history)
        self._learnt: int = sum(trial.state != FAIL for trial in history)
        self._begin(history)

    @property
    def has_learnt(self) -> bool:
        """Whether enough trials have ended for it to draw the next."""
        return self._learnt >= self._startup_trials

    def ask(self, trial_id: str, start: Mapping[str, Any] | None = None) -> Drawn:
        """Draw a trial's hyperparameters; those that `start` names are as it says."""
        return self._space.drawn(self._put(trial_id, start or {}).params)

    def add(self, trial_id: str, drawn: Drawn) -> None:
        """Take a trial that it did not draw for one that runs."""
        self._put(trial_id, self._flat(drawn))

    def tell(self, trial_id: str, stop_reason: str, epochs: int, objective: float) -> None:
        """Learn how a trial ended.

        Args:
            trial_id: As it was given to `ask` or `add`.
            stop_reason: As the trials table has it.
            epochs: Epochs that it trained.
            objective: What it reached in them.
        """
        state, value, pruned_at = _ending(stop_reason, epochs, objective)
        trial = self._running.pop(trial_id)
        for epoch, reached in pruned_at.items():
            trial.report(reached, epoch)
        self._study.tell(trial, value, state)
        self._known += 1
        self._learnt += state != FAIL
        if self._known % (TPE_MEMORY // 2) == 0:
            self._begin(self._study.get_trials(deepcopy=False))

    def _put(self, trial_id: str, fixed: Mapping[str, Any]) -> Trial:
        if fixed:
            self._study.enqueue_trial(dict(fixed))
        trial = self._running[trial_id] = self._study.ask(self._distributions)
        return trial

    def _begin(self, history: Sequence[FrozenTrial]) -> None:
        """Begin a study with these trials, thinned out, and those that run."""
        ended = [trial for trial in history if trial.state in (PRUNED, COMPLETE)]
        sampler = optuna.samplers.TPESampler(
            n_startup_trials=0,  # they are random search's
            multivariate=True,
            constant_liar=True,
            # Another one after a resume, or TPE would begin with the random trials it began with
            seed=derive_seed(self._seed, self._known),
        )
        self._study = optuna.create_study(sampler=sampler)
        self._study.add_trials(_thinned(ended))
        for trial_id, trial in self._running.items():
            self._put(trial_id, trial.params)

    def _frozen(self, drawn: Drawn, stop_reason: str, epochs: int, objective: float) -> FrozenTrial:
        state, value, pruned_at = _ending(stop_reason, epochs, objective)
        return create_trial(
            state=state,
            value=value,
            params=self._flat(drawn),
            distributions=self._distributions,
            intermediate_values=pruned_at,
        )

    def _flat(self, drawn: Drawn) -> dict[str, Any]:
        flat = {**drawn, **drawn["parameters"]}
        return {name: flat[name] for name in self._distributions}


def _ending(
    stop_reason: str, epochs: int, objective: float
) -> tuple[TrialState, float | None, dict[int, float]]:
    """Return a trial's state, its value, and what it had reached by the epoch it was stopped at."""
    if stop_reason in FAILED:
        return FAIL, None, {}
    if not math.isfinite(objective) or stop_reason == "diverged":
        return PRUNED, None, {}
    if stop_reason in STOPPED:
        return PRUNED, None, {epochs: objective}
    return COMPLETE, objective, {}


def _thinned(ended: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Return at most half of TPE_MEMORY, in their order: the best, and then the newest.

    TPE itself gives trials less weight the older they are, but for the best.
    """
    best = sorted(range(len(ended)), key=lambda place: _rank(ended[place]))[:MOST_GOOD]
    newest = range(len(ended) - TPE_MEMORY // 2 + len(best), len(ended))
    kept = sorted({*best, *(place for place in newest if place >= 0)})
    return [ended[place] for place in kept]


def _rank(trial: FrozenTrial) -> tuple[float, ...]:
    """Return what orders trials as TPE does: those that came to their end first."""
    if trial.state == COMPLETE:
        return 0.0, trial.value or 0.0
    for epoch, reached in trial.intermediate_values.items():
        return 1.0, -epoch, reached
    return (2.0,)
