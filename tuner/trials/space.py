"""What is searched, and how one trial draws its hyperparameters and its seed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from trainables.hyperparameters import HYPERPARAMETERS
from trainables.training.seeds import derive_seed

if TYPE_CHECKING:  # it imports PyTorch
    from trainables.networks.base import Defaults

Hyperparameters = dict[str, Any]
Range = tuple[float, float]


@dataclass(frozen=True)
class Space:
    """What the trials of one search are drawn from.

    Attributes:
        ranges: Lowest and highest value of hyperparameters by name, equal where it is fixed. A
            network without dropout has none for it.
        losses: What a trial may minimise.
    """

    ranges: Mapping[str, Range]
    losses: tuple[str, ...] = ("mse",)

    @classmethod
    def of(
        cls, defaults: "Defaults", asked: Mapping[str, Range], losses: Sequence[str] = ("mse",)
    ) -> "Space":
        """Return the network's own ranges, with those that were asked for in their place."""
        ranges = {name: asked.get(name) or getattr(defaults, name) for name in HYPERPARAMETERS}
        return cls({name: ends for name, ends in ranges.items() if ends}, tuple(losses))

    def draw(self, seed: int, number: int) -> Hyperparameters:
        """Draw trial `number` of a random search: the same whatever ran before it.

        Losses take turns, so that a few trials have all of them. The rest is drawn as if there were
        one loss.
        """
        random = np.random.default_rng([seed, number])
        drawn: Hyperparameters = dict.fromkeys(HYPERPARAMETERS)
        for name, (low, high) in self.ranges.items():
            if HYPERPARAMETERS[name].kind is int:
                drawn[name] = int(random.integers(int(low), int(high), endpoint=True))
            elif HYPERPARAMETERS[name].log:
                value = np.exp(random.uniform(np.log(low), np.log(high)))
                drawn[name] = float(np.clip(value, low, high))
            else:
                drawn[name] = float(random.uniform(low, high))
        return {**drawn, "loss": self.losses[number % len(self.losses)]}

    def distributions(self) -> dict[str, Any]:
        """Return the same ranges as Optuna's distributions."""
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

        searched: dict[str, Any] = {}
        for name, (low, high) in self.ranges.items():
            parameter = HYPERPARAMETERS[name]
            if parameter.kind is int:
                searched[name] = IntDistribution(int(low), int(high))
            else:
                searched[name] = FloatDistribution(low, high, log=parameter.log)
        if len(self.losses) > 1:
            searched["loss"] = CategoricalDistribution(self.losses)
        return searched


def trial_seed(search_seed: int, hyperparameters: Hyperparameters, repeat: int = 0) -> int:
    """Derive a trial's own seed; `repeat` counts how often it is trained again.

    The loss has no part in it: trials that differ in nothing else begin with the same weights.
    """
    others = {name: value for name, value in hyperparameters.items() if name != "loss"}
    return derive_seed(search_seed, sorted(others.items()), repeat)
