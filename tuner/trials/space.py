"""What is searched, and how one trial draws its hyperparameters and its seed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.tables.parameters import check_names, distribution
from trainables.errors import UsageError
from trainables.hyperparameters import COLUMNS, Asked, Parameter, range_flag, values_of
from trainables.training.seeds import derive_seed

Drawn = dict[str, Any]
"""COLUMNS and `loss`, null where there is no such thing, and by name what else is searched or set
in `parameters`."""


@dataclass(frozen=True)
class Space:
    """What the trials of one search are drawn from.

    Attributes:
        parameters: What each hyperparameter may be, by name.
        losses: What a trial may minimise.
        asked: Those that the person asked for: trials name them where they are fixed, too.
    """

    parameters: Mapping[str, Parameter]
    losses: tuple[str, ...] = ("mse",)
    asked: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        own: Mapping[str, Parameter],
        asked: Asked,
        losses: Sequence[str] = ("mse",),
        model: str = "the network",
    ) -> "Space":
        """Return a network's space with what was asked for in its place.

        Args:
            own: The network's.
            asked: What the person wants instead.
            losses: What a trial may minimise.
            model: As sentences call the network.

        Raises:
            UsageError: The network has no such hyperparameter, or one that tables can't have.
        """
        parameters = asked.of(own, model)
        check_names(parameters)
        return cls(parameters, tuple(losses), asked.names)

    @property
    def searched(self) -> list[str]:
        """Hyperparameters beside COLUMNS that trials differ in: what is fixed enters no draw."""
        return sorted(
            name
            for name, parameter in self.parameters.items()
            if name not in COLUMNS and not parameter.is_fixed
        )

    def draw(self, seed: int, number: int, start: Mapping[str, Any] | None = None) -> Drawn:
        """Draw trial `number` of a random search: the same whatever ran before it.

        Losses and choices take turns, so that a few trials have all of them. COLUMNS are drawn as
        if there were nothing else, and each other hyperparameter as if there were only that. What
        `start` names is as it says, and changes nothing of the others.
        """
        random = np.random.default_rng([seed, number])
        drawn: dict[str, Any] = {}
        for name in COLUMNS:
            if name in self.parameters:
                drawn[name] = _draw(random, self.parameters[name])
        for name in self.searched:
            parameter = self.parameters[name]
            turns = len(parameter.choices) or 1
            round_number, turn = divmod(number, turns)
            own = np.random.default_rng([seed, round_number, *name.encode()])
            if parameter.choices:
                drawn[name] = parameter.choices[own.permutation(turns)[turn]]
            else:
                drawn[name] = _draw(own, parameter)
        drawn["loss"] = self.losses[number % len(self.losses)]
        return self.drawn({**drawn, **(start or {})})

    def drawn(self, flat: Mapping[str, Any]) -> Drawn:
        """Return one value of each by name, and the loss, as a draw has them."""
        named = {name for name in (*self.asked, *self.searched) if name not in COLUMNS}
        values = values_of(self.parameters, flat)
        return {
            **{name: values.get(name) for name in COLUMNS},
            "parameters": {name: values[name] for name in sorted(named)},
            "loss": flat.get("loss", self.losses[0]),
        }

    def point(self, named: Mapping[str, str], model: str) -> dict[str, Any]:
        """Return the values that a person typed, by name of the hyperparameter.

        Args:
            named: What was typed, as `point_of` returns it.
            model: As sentences call the network.

        Raises:
            UsageError: The network has no such hyperparameter, or the value is not in the space.
        """
        known = dict(self.parameters)
        if len(self.losses) > 1:
            known["loss"] = Parameter(choices=self.losses)
        values = {}
        for name, word in named.items():
            if name not in known:
                raise UsageError(
                    f"{model} has no hyperparameter {name!r}; it has {', '.join(known)}"
                )
            parameter = known[name]
            try:
                values[name] = parameter.read(word)
            except ValueError as error:
                raise UsageError(f"{name} of {model} {error}") from error
            if not parameter.may_be(values[name]):
                cure = "--loss" if name == "loss" else range_flag(name, parameter)
                raise UsageError(
                    f"{name} of {model} is {parameter.in_words} here, but got {word}; "
                    f"change one of both, the space with {cure}"
                )
        return values

    def seed(self, search_seed: int, drawn: Drawn, repeat: int = 0) -> int:
        """Derive a trial's own seed; `repeat` counts how often it is trained again.

        The loss has no part in it: trials that differ in nothing else begin with the same weights.
        """
        values = {name: drawn[name] for name in COLUMNS}
        values |= {name: drawn["parameters"][name] for name in self.searched}
        return derive_seed(search_seed, sorted(values.items()), repeat)

    def distributions(self) -> dict[str, Any]:
        """Return the same ranges as Optuna's distributions."""
        from optuna.distributions import CategoricalDistribution

        names = [name for name in COLUMNS if name in self.parameters] + self.searched
        searched = {name: distribution(self.parameters[name]) for name in names}
        if len(self.losses) > 1:
            searched["loss"] = CategoricalDistribution(self.losses)
        return searched


def network_of(number: int, spaces: Mapping[str, Space]) -> str:
    """Return the network that trial `number` trains: they take turns once each loss has had its."""
    names = list(spaces)
    losses = len(spaces[names[0]].losses)
    return names[number // losses % len(names)]


def _draw(random: np.random.Generator, parameter: Parameter) -> Any:
    low, high = parameter.low, parameter.high
    if parameter.choices:
        return parameter.choices[int(random.integers(len(parameter.choices)))]
    if not parameter.is_numeric:
        return low
    if not parameter.log:
        if parameter.kind is int:
            return int(random.integers(low, high, endpoint=True))
        return float(random.uniform(low, high))
    # Every whole number has the part of the axis that is nearest to it
    margin = 0.5 if parameter.kind is int else 0.0
    value = np.exp(random.uniform(np.log(low - margin), np.log(high + margin)))
    if parameter.kind is int:
        return int(np.clip(np.round(value), low, high))
    return float(np.clip(value, low, high))
