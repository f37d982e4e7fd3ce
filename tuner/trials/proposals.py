"""Which trial comes next: numbered proposals for Ray Tune, the same after a resume as before it."""

import math
from collections import deque
from collections.abc import Iterable
from typing import Any

from ray.tune.search import Searcher
from ray.tune.search.optuna import OptunaSearch

from trainables.hyperparameters import HYPERPARAMETERS
from trainables.training.seeds import derive_seed
from tuner.trials.space import Hyperparameters, Space, trial_seed
from tuner.trials.trial_setup import OBJECTIVE, Proposal


def proposal(number: int, hyperparameters: Hyperparameters, seed: int, **more: Any) -> Proposal:
    """Return what a trial is given: number, hyperparameters, seed, and where it goes on from.

    Without more it begins anew, and repeats no other trial.
    """
    where: Proposal = {"repeat_of": None, "checkpoints": [], "known_epochs": 0}
    return {"number": number, **hyperparameters, "seed": seed, **where, **more}


class Proposals(Searcher):
    """First the trials that are given, then new ones, drawn at random or by TPE.

    A trial's number is fixed when it is proposed. With random search its hyperparameters follow
    from the number alone.
    """

    def __init__(
        self,
        given: Iterable[Proposal],
        *,
        space: Space,
        seed: int,
        numbers: Iterable[int],
        live_limit: int | None = None,
        tpe: OptunaSearch | None = None,
    ) -> None:
        """Propose in this order.

        Args:
            given: Trials to go on with, or to repeat.
            space: What new trials are drawn from.
            seed: The search's, from which each trial's own follows.
            numbers: Numbers of the new trials.
            live_limit: How many proposed trials may be unfinished; None for any number.
            tpe: What draws new trials; None draws them at random.
        """
        super().__init__(metric=OBJECTIVE, mode="min")
        self._given = deque(given)
        self._space = space
        self._seed = seed
        self._numbers = deque(numbers)
        self._live_limit = live_limit
        self._live: set[str] = set()
        self._tpe = tpe
        self._of_tpe: set[str] = set()

    def set_search_properties(
        self, metric: str | None, mode: str | None, config: Any, **spec: Any
    ) -> bool:
        """Take nothing from Tune: metric and space are known."""
        return True

    @property
    def finished(self) -> bool:
        """Whether every trial has been proposed."""
        return not self._given and not self._numbers

    def suggest(self, trial_id: str) -> Any:
        """Return the next proposal, None to be asked later, or FINISHED."""
        if self.finished:
            return Searcher.FINISHED
        if self._live_limit is not None and len(self._live) >= self._live_limit:
            return None
        self._live.add(trial_id)
        return self._given.popleft() if self._given else self._new(trial_id)

    def _new(self, trial_id: str) -> Proposal:
        number = self._numbers.popleft()
        if self._tpe is None:
            drawn = self._space.draw(self._seed, number)
        else:
            self._of_tpe.add(trial_id)
            suggested = self._tpe.suggest(trial_id) or {}
            drawn = {name: suggested.get(name) for name in HYPERPARAMETERS}
            drawn["loss"] = suggested.get("loss", self._space.losses[0])
        return proposal(number, drawn, trial_seed(self._seed, drawn))

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Nothing: TPE learns from finished trials only."""

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Make room for the next; let TPE learn what this one reached, or that it failed."""
        self._live.discard(trial_id)
        if self._tpe is None or trial_id not in self._of_tpe:
            return
        if result is None or error or not math.isfinite(result[OBJECTIVE]):
            self._tpe.on_trial_complete(trial_id, None, error=True)
        else:
            self._tpe.on_trial_complete(trial_id, result)

    def save(self, checkpoint_path: str) -> None:
        """Nothing: a resumed search is rebuilt from the tables."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing, as for `save`."""


def tpe(space: Space, seed: int, finished: Iterable[tuple[Hyperparameters, float]]) -> OptunaSearch:
    """Return Optuna's TPE through Ray's own integration.

    Args:
        space: What to draw from.
        seed: The search's.
        finished: Hyperparameters and objective of trials of earlier sessions.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    finished = list(finished)
    # Another seed after a resume, or TPE would begin with the random trials that it began with
    sampler_seed = derive_seed(seed, len(finished))
    searched = space.distributions()
    search = OptunaSearch(searched, metric=OBJECTIVE, mode="min", seed=sampler_seed)
    for hyperparameters, value in finished:
        if math.isfinite(value):
            search.add_evaluated_point({name: hyperparameters[name] for name in searched}, value)
    return search
