"""The hyperparameters that a search draws for every network: names, limits, and how they read.

Flags, samplers, tables, lines, charts and importance go through this list. Without PyTorch.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Hyperparameter:
    """A number of a trial that a search draws from a range.

    Attributes:
        name: As settings, tables and TrainingConfig call it.
        label: As charts and tables on a page call it.
        short: As lines call it.
        meaning: What the column of the trials table says.
        unit: Of its values, if any.
        kind: The type of its values.
        optional: Whether some networks have none, so that its column may be null.
        log: Whether it is drawn, and drawn in charts, on a logarithmic scale.
        low: The lowest value that makes sense, or what values must be above.
        low_included: Whether `low` itself makes sense.
        high: The highest value that makes sense, or what values must be below.
        high_included: Whether `high` itself makes sense.
        style: How it is printed, as `format` takes it.
    """

    name: str
    label: str
    short: str
    meaning: str
    unit: str = ""
    kind: type[int] | type[float] = float
    optional: bool = False
    log: bool = False
    low: float
    low_included: bool = True
    high: float
    high_included: bool = True
    style: str = ""

    def text(self, value: Any) -> str:
        """Return a value as it is printed everywhere: `1.88e-03` for a learning rate."""
        return format(value, self.style)

    def broken_limit(self, value: float) -> str:
        """Return the limit that a value breaks, as in `> 0`; empty where it makes sense."""
        if not (value > self.low or (self.low_included and value == self.low)):
            return f"{'≥' if self.low_included else '>'} {self.low:g}"
        if not (value < self.high or (self.high_included and value == self.high)):
            return f"{'≤' if self.high_included else '<'} {self.high:g}"
        return ""


HYPERPARAMETERS: Mapping[str, Hyperparameter] = {
    parameter.name: parameter
    for parameter in (
        Hyperparameter(
            name="learning_rate",
            label="Learning rate",
            short="lr",
            meaning="Adam's step size",
            log=True,
            low=0.0,
            low_included=False,
            high=1e30,
            style=".2e",
        ),
        Hyperparameter(
            name="dropout",
            label="Dropout",
            short="dropout",
            meaning="fraction of the activations that are dropped",
            optional=True,
            low=0.0,
            high=1.0,
            high_included=False,
            style=".3f",
        ),
        Hyperparameter(
            name="patience",
            label="Patience",
            short="patience",
            meaning="early-stopping patience",
            unit="epochs",
            kind=int,
            low=1,
            high=1_000_000,
        ),
    )
}
