"""What is searched: learning rate, dropout, early-stopping patience and loss, and how one trial draws them."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from trainables.networks.base import Range
from trainables.networks.registry import find
from trainables.training.seeds import derive_seed
from tuner.settings import SearchConfig

Hyperparameters = dict[str, Any]


@dataclass(frozen=True)
class Space:
    """The ranges of one search; equal ends fix a value."""

    learning_rate: Range  # log-uniform
    dropout: Range | None  # uniform; None for a network without dropout
    patience: tuple[int, int]  # uniform, both ends included
    losses: tuple[str, ...] = ("mse",)

    @classmethod
    def of(cls, config: SearchConfig) -> "Space":
        """The network's own ranges, with those of the command line in their place."""
        defaults = find(config.model).defaults
        return cls(
            learning_rate=config.learning_rate or defaults.learning_rate,
            dropout=config.dropout or defaults.dropout,
            patience=config.patience or defaults.patience,
            losses=config.losses,
        )

    def draw(self, seed: int, number: int) -> Hyperparameters:
        """Trial `number` of a random search: the same whatever ran before it and in whichever order.

        Losses take turns, so that a few trials have all of them, and the rest is drawn as if there were one.
        """
        random = np.random.default_rng([seed, number])
        low, high = np.log(self.learning_rate)
        return {
            "learning_rate": float(np.clip(np.exp(random.uniform(low, high)), *self.learning_rate)),
            "dropout": None if self.dropout is None else float(random.uniform(*self.dropout)),
            "patience": int(random.integers(self.patience[0], self.patience[1], endpoint=True)),
            "loss": self.losses[number % len(self.losses)],
        }

    def distributions(self) -> dict[str, Any]:
        """The same ranges as Optuna's distributions."""
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

        searched: dict[str, Any] = {
            "learning_rate": FloatDistribution(*self.learning_rate, log=True),
            "patience": IntDistribution(*self.patience),
        }
        if self.dropout is not None:
            searched["dropout"] = FloatDistribution(*self.dropout)
        if len(self.losses) > 1:
            searched["loss"] = CategoricalDistribution(self.losses)
        return searched


def trial_seed(search_seed: int, hyperparameters: Hyperparameters, repeat: int = 0) -> int:
    """A trial's own seed, from the search's and its hyperparameters; `repeat` counts confirmations.

    The loss has no part in it: trials that differ in nothing else begin with the same weights.
    """
    others = {name: value for name, value in hyperparameters.items() if name != "loss"}
    return derive_seed(search_seed, sorted(others.items()), repeat)
