"""The trials that are still to do: unfinished ones of earlier sessions, new ones, and repeats."""

import math
from collections.abc import Iterable

from analysis.tables.files import Row
from analysis.tables.ranking import objective
from trainables.hyperparameters import HYPERPARAMETERS
from tuner.progress.rows import FINISHED
from tuner.settings import SearchConfig
from tuner.storage.experiment import Experiment
from tuner.trials.proposals import Proposals, proposal, tpe
from tuner.trials.space import Space, trial_seed
from tuner.trials.trial_setup import Proposal

DRAWN = (*HYPERPARAMETERS, "loss")


def searched_trials(
    config: SearchConfig,
    experiment: Experiment,
    earlier: Iterable[Row],
    stopped: set[int],
    slots: int,
) -> Proposals:
    """Return the trials of the search that are still to do.

    Args:
        config: The settings, complete.
        experiment: Where the checkpoints of earlier sessions lie.
        earlier: Rows of trials that earlier sessions began.
        stopped: Trials that ASHA had stopped when the driver died before it wrote so.
        slots: Trials that run at once, as far as resources go.
    """
    space = Space.of(config.model, config.ranges, config.losses)
    begun = [row for row in earlier if row["repeat_of"] is None]
    finished = [row for row in begun if row["stop_reason"] in FINISHED or row["trial"] in stopped]
    searcher = None
    if config.search == "tpe":
        found = [(_drawn(row), _reached(row, config.mixed_losses)) for row in finished]
        searcher = tpe(space, config.seed, found)
    done = {row["trial"] for row in finished}
    # A killed search may have started a trial before the one before it
    known = {row["trial"] for row in begun}
    return Proposals(
        [resumed(experiment, row) for row in begun if row["trial"] not in done],
        space=space,
        seed=config.seed,
        numbers=[number for number in range(config.samples or 0) if number not in known],
        live_limit=_live_limit(config, slots),
        tpe=searcher,
    )


def repeats(
    config: SearchConfig, experiment: Experiment, finalists: Iterable[Row], earlier: Iterable[Row]
) -> Proposals:
    """Return the repeats of finalists with other seeds that are still to do.

    Args:
        config: The settings, complete.
        experiment: Where the checkpoints of earlier sessions lie.
        finalists: Rows of the trials to train again.
        earlier: Rows of all trials so far, repeats of an earlier session among them.
    """
    known = {row["trial"]: row for row in earlier}
    pairs = [(row, count + 1) for row in finalists for count in range(config.confirm_seeds)]
    given = []
    for number, (finalist, count) in enumerate(pairs, start=config.samples or 0):
        row = known.get(number)
        if row is None:
            drawn = _drawn(finalist)
            seed = trial_seed(config.seed, drawn, count)
            given.append(proposal(number, drawn, seed, repeat_of=finalist["trial"]))
        elif row["stop_reason"] not in FINISHED:
            given.append(resumed(experiment, row))
    space = Space.of(config.model, config.ranges, config.losses)
    return Proposals(given, space=space, seed=config.seed, numbers=())


def resumed(experiment: Experiment, row: Row) -> Proposal:
    """Return the proposal of an earlier session's trial, with its checkpoints."""
    return proposal(
        row["trial"],
        _drawn(row),
        row["seed"],
        repeat_of=row["repeat_of"],
        checkpoints=experiment.checkpoints(row["trial"]),
        known_epochs=row["epochs"],
    )


def _drawn(row: Row) -> Proposal:
    return {name: row[name] for name in DRAWN}


def _reached(row: Row, mixed_losses: bool) -> float:
    """What TPE learns of an earlier trial; NaN where it got through no epoch."""
    if row["best_validation_loss"] is None:
        return math.nan
    return float(objective(row, mixed_losses=mixed_losses, of="best_"))


def _live_limit(config: SearchConfig, slots: int) -> int | None:
    """Return how many trials may be proposed and unfinished; None for any number.

    Where resources hold the number down anyway, one more may wait: Tune keeps a process for the
    next trial only if that trial is there when the last one ends. What drives a worker group holds
    none.
    """
    concurrency = config.concurrency or slots
    if concurrency < slots or config.workers_per_trial > 1:
        return concurrency
    return concurrency + 1 if config.search == "tpe" else None
