"""Which trial comes next: numbered proposals for Ray Tune, the same after a resume as before it."""

import itertools
import json
import math
from collections import deque
from collections.abc import Container, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ray.tune.search import Searcher

from analysis.tables.files import Row
from trainables.goal import Goal
from trainables.hyperparameters import COLUMNS
from trainables.training.seeds import derive_seed
from tuner.progress.rows import FINISHED
from tuner.settings import ASHA, TPE, SearchConfig
from tuner.storage.run_storage import Experiment
from tuner.trials.reporter import OBJECTIVE, Proposal
from tuner.trials.space import Drawn, Space, network_of
from tuner.trials.starting_points import starting_points

if TYPE_CHECKING:  # it imports Optuna
    from tuner.trials.tpe import Tpe


def proposal(number: int, model: str, drawn: Drawn, seed: int, **more: Any) -> Proposal:
    """Return what a trial is given: its network and hyperparameters, and where it goes on from.

    Without more it begins anew, and repeats no other trial.
    """
    return {
        "number": number,
        "model": model,
        **drawn,
        "seed": seed,
        "repeat_of": None,
        "checkpoints": [],
        "known_epochs": 0,
        **more,
    }


class Proposals(Searcher):
    """First the trials that are given, then new ones, drawn at random or by TPE.

    A trial's number is fixed when it is proposed, and its network follows from it. With random
    search its hyperparameters do, too.
    """

    def __init__(
        self,
        given: Iterable[Proposal],
        *,
        spaces: Mapping[str, Space],
        seed: int,
        numbers: Iterable[int],
        live_limit: int | None = None,
        tpe: "Mapping[str, Tpe] | None" = None,
        starts: Mapping[int, Mapping[str, Any]] | None = None,
        scheduler: str = ASHA,
    ) -> None:
        """Propose in this order.

        Args:
            given: Trials to go on with, or to repeat.
            spaces: What new trials are drawn from, by network. Networks take turns.
            seed: The search's, from which each trial's own follows.
            numbers: Numbers of the new trials.
            live_limit: How many proposed trials may be unfinished; None for any number.
            tpe: What draws new trials of each network once it has learnt; None draws all at random.
            starts: By number, what is known of a new trial's hyperparameters before they are drawn.
            scheduler: The stop reason of a trial that has not ended by itself.
        """
        super().__init__(metric=OBJECTIVE, mode="min")
        self._given = deque(given)
        self._spaces = spaces
        self._seed = seed
        self._numbers = deque(numbers)
        self._live_limit = live_limit
        self._live: set[str] = set()
        self._tpe = tpe
        self._starts = starts or {}
        self._scheduler = scheduler
        self._of_tpe: dict[str, Tpe] = {}

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
        return self._next_given(trial_id) if self._given else self._new(trial_id)

    def _next_given(self, trial_id: str) -> Proposal:
        given = self._given.popleft()
        if self._tpe is not None:
            tpe = self._of_tpe[trial_id] = self._tpe[given["model"]]
            tpe.add(trial_id, given)
        return given

    def _new(self, trial_id: str) -> Proposal:
        number = self._numbers.popleft()
        model = network_of(number, self._spaces)
        space = self._spaces[model]
        start = self._starts.get(number, {})
        if self._tpe is None:
            drawn = space.draw(self._seed, number, start)
        else:
            tpe = self._of_tpe[trial_id] = self._tpe[model]
            if tpe.has_learnt:
                drawn = tpe.ask(trial_id, start)
            else:
                drawn = space.draw(self._seed, number, start)
                tpe.add(trial_id, drawn)
        return proposal(number, model, drawn, space.seed(self._seed, drawn))

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Make room for the next; let TPE learn what this one reached, or that it failed."""
        self._live.discard(trial_id)
        tpe = self._of_tpe.pop(trial_id, None)
        if tpe is None:
            return
        if result is None or error:
            tpe.tell(trial_id, "error", 0, math.nan)
        else:
            # Of a trial that does not say why it ends the scheduler was the end
            reason = result["stop_reason"] or self._scheduler
            tpe.tell(trial_id, reason, result["epoch"], result[OBJECTIVE])

    def save(self, checkpoint_path: str) -> None:
        """Nothing: a resumed search is rebuilt from the tables."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing, as for `save`."""


def searched_trials(
    config: SearchConfig,
    goal: Goal,
    spaces: Mapping[str, Space],
    experiment: Experiment,
    earlier: Iterable[Row],
    stopped: set[int],
    slots: int,
) -> Proposals:
    """Return the trials of the search that are still to do.

    Args:
        config: The settings, complete.
        goal: What is best.
        spaces: What new trials are drawn from, by network.
        experiment: Where the checkpoints of earlier sessions lie.
        earlier: Rows of trials that earlier sessions began.
        stopped: Trials that the scheduler had stopped when the driver died before it wrote so.
        slots: Trials that run at once, as far as resources go.
    """
    earlier = list(earlier)
    begun = [row for row in earlier if row["repeat_of"] is None]
    finished = [row for row in begun if row["stop_reason"] in FINISHED or row["trial"] in stopped]
    searchers = None
    if config.search == TPE:
        from tuner.trials.tpe import Tpe  # here, since random search needs no Optuna

        ranks = goal.between(config.mixed_losses)
        searchers = {}
        for model, space in spaces.items():
            own = (row for row in finished if row["model"] == model)
            # Of one seed, the networks would begin with the same random numbers
            searchers[model] = Tpe(
                space,
                derive_seed(config.seed, model),
                [(_drawn(row), *_ending(row, ranks, config.scheduler)) for row in own],
                startup_trials=config.startup_trials,
            )
    done = {row["trial"] for row in finished}
    # A killed search may have started a trial before the one before it
    known = {row["trial"] for row in begun}
    repeated = {row["trial"] for row in earlier if row["repeat_of"] is not None}
    numbers = itertools.islice(_without(repeated), config.samples or 0)
    return Proposals(
        [resumed(experiment, row) for row in begun if row["trial"] not in done],
        spaces=spaces,
        seed=config.seed,
        numbers=[number for number in numbers if number not in known],
        live_limit=_live_limit(config, slots),
        tpe=searchers,
        starts={number: point.values for number, point in starting_points(config, spaces).items()},
        scheduler=config.scheduler,
    )


def _without(taken: Container[int], first: int = 0) -> Iterator[int]:
    """Yield the whole numbers from `first` on that are not taken."""
    return (number for number in itertools.count(first) if number not in taken)


def repeats(
    config: SearchConfig,
    spaces: Mapping[str, Space],
    experiment: Experiment,
    finalists: Iterable[Row],
    earlier: Iterable[Row],
) -> Proposals:
    """Return the repeats of finalists with other seeds that are still to do.

    Args:
        config: The settings, complete.
        spaces: Those of the search, by network.
        experiment: Where the checkpoints of earlier sessions lie.
        finalists: Rows of the trials to train again.
        earlier: Rows of all trials so far, repeats of an earlier session among them.
    """
    earlier = list(earlier)
    begun = {(row["repeat_of"], row["seed"]): row for row in earlier}
    # A run that went on with more trials has searched numbers behind those of its first repeats
    numbers = _without({row["trial"] for row in earlier}, config.samples or 0)
    pairs = [(row, count + 1) for row in finalists for count in range(config.confirm_seeds)]
    given = []
    for finalist, count in pairs:
        model, drawn = finalist["model"], _drawn(finalist)
        seed = spaces[model].seed(config.seed, drawn, count)
        row = begun.get((finalist["trial"], seed))
        if row is None:
            repeat_of = finalist["trial"]
            given.append(proposal(next(numbers), model, drawn, seed, repeat_of=repeat_of))
        elif row["stop_reason"] not in FINISHED:
            given.append(resumed(experiment, row))
    return Proposals(
        given,
        spaces=spaces,
        seed=config.seed,
        numbers=(),
    )


def resumed(experiment: Experiment, row: Row) -> Proposal:
    """Return the proposal of an earlier session's trial, with its checkpoints."""
    return proposal(
        row["trial"],
        row["model"],
        _drawn(row),
        row["seed"],
        repeat_of=row["repeat_of"],
        checkpoints=experiment.checkpoints(row["trial"]),
        known_epochs=row["epochs"],
    )


def _drawn(row: Row) -> Drawn:
    columns = {name: row[name] for name in (*COLUMNS, "loss")}
    return {**columns, "parameters": json.loads(row["parameters"] or "{}")}


def _ending(row: Row, ranks: Goal, scheduler: str) -> tuple[str, int, float]:
    """Return what TPE learns of an earlier trial: stop reason, epochs, and what it reached.

    That is NaN where it got through no epoch. The scheduler had stopped a trial that has finished
    without a reason.
    """
    reason = row["stop_reason"] if row["stop_reason"] in FINISHED else scheduler
    if row["best_validation_loss"] is None:
        return reason, row["epochs"], math.nan
    return reason, row["epochs"], float(ranks.objective(row, of="best_"))


def _live_limit(config: SearchConfig, slots: int) -> int | None:
    """Return how many trials may be proposed and unfinished; None for any number.

    Where resources hold the number down anyway, one more may wait: Tune keeps a process for the
    next trial only if that trial is there when the last one ends. What drives a worker group holds
    none.
    """
    concurrency = config.concurrency or slots
    if concurrency < slots or config.workers_per_trial > 1:
        return concurrency
    return concurrency + 1 if config.search == TPE else None
