"""Hyperparameters: what each may be, what a person asks of it, and how its values read.

Plain values without PyTorch, so that they go to every process, and into tables.
"""

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from trainables.errors import UsageError
from trainables.training.schedules import CONSTANT, SCHEDULES

Value = bool | int | float | str
Range = tuple[float, float]

KINDS: Mapping[type, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text",
}
"""Types of values, and what sentences call one."""


@dataclass(frozen=True)
class Parameter:
    """What a hyperparameter may be.

        Parameter(1e-4, 1e-2, log=True)       # anything in between
        Parameter(2, 10)                      # whole numbers, since both ends are
        Parameter(choices=("relu", "gelu"))
        Parameter(128)                        # this one, unless the command line says otherwise

    Attributes:
        low: The lowest value; None where there are choices.
        high: The highest value, itself included; where it is not given, `low`.
        log: Whether it is drawn, and drawn in charts, on a logarithmic scale.
        choices: What it may be instead of a range: all numbers, all texts, or all true or false.
    """

    low: Any = None
    high: Any = None
    log: bool = False
    choices: tuple[Any, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "choices", tuple(self.choices))
        if not self.choices and self.high is None:
            object.__setattr__(self, "high", self.low)
        if self.kind is float and not self.problem:
            for name, value in vars(self).copy().items():
                if name in ("low", "high") and value is not None:
                    object.__setattr__(self, name, float(value))
            object.__setattr__(self, "choices", tuple(map(float, self.choices)))

    @property
    def values(self) -> tuple[Any, ...]:
        """Both ends of the range, which are one where it is fixed; or the choices."""
        return self.choices or tuple(dict.fromkeys((self.low, self.high)))

    @property
    def kind(self) -> type | None:
        """Type of its values; None where they have none in common."""
        kinds = {type(value) for value in self.values}
        if kinds == {int, float}:
            return float
        kind = kinds.pop()
        return kind if not kinds and kind in KINDS else None

    @property
    def is_numeric(self) -> bool:
        """Whether values are numbers, which have an order."""
        return self.kind in (int, float)

    @property
    def is_fixed(self) -> bool:
        """Whether there is one value only."""
        return len(self.values) == 1

    @property
    def problem(self) -> str:
        """What of this makes no sense; empty where all does."""
        kind = self.kind
        if kind is None:
            return f"values of one type must be given, but got {self._got}"
        if kind is float and not all(map(math.isfinite, self.values)):
            return f"finite numbers must be given, but got {self._got}"
        if self.choices:
            if self.log or (self.low, self.high) != (None, None):
                return "either a range or choices must be given, but got both"
            if len(set(self.choices)) < len(self.choices):
                return f"each choice must be given once, but got {self._got}"
            return ""
        if not self.is_numeric:
            return "" if self.is_fixed else f"low and high are numbers, but got {self._got}"
        if not self.low <= self.high:
            return f"low ≤ high must hold, but got {self._got}"
        if self.log and not self.low > 0:
            return f"low > 0 must hold on a logarithmic scale, but got {self._got}"
        return ""

    @property
    def _got(self) -> str:
        return " and ".join(repr(value) for value in self.values)

    @property
    def in_words(self) -> str:
        """What it may be, as a line says it: `32 to 512 (log)`."""
        if self.choices or self.is_fixed:
            *others, last = map(plain_text, self.values)
            return f"{', '.join(others)} or {last}" if others else last
        return f"{plain_text(self.low)} to {plain_text(self.high)}{' (log)' if self.log else ''}"

    def position(self, value: Any) -> float | None:
        """Return where a value lies in the range, on its scale: 0 at the low end, 1 at the high.

        It is None where there is no range.
        """
        if self.choices or self.is_fixed:
            return None
        low, high = self.low, self.high
        if self.log:
            low, high, value = math.log(low), math.log(high), math.log(value)
        return float((value - low) / (high - low))

    def read(self, word: str) -> Any:
        """Return the value that a person typed.

        Raises ValueError, with a sentence that follows the name, where it is of another type.
        """
        kind = self.kind or str
        if not _all_are(kind, [word]):
            raise ValueError(f"is {KINDS[kind]}, {self.in_words} here, but got {word}")
        return _read(kind, word)

    def may_be(self, value: Any) -> bool:
        """Whether a value of its type is in the range, or among the choices."""
        is_range = not (self.choices or self.is_fixed)
        return value in self.values or (is_range and self.low <= value <= self.high)

    def to_plain(self) -> dict[str, Any]:
        """Return it as JSON takes it: its type, and its range with its scale or its choices."""
        kind = self.kind.__name__ if self.kind else ""
        if self.choices:
            return {"type": kind, "choices": list(self.choices)}
        scale = "log" if self.log else "linear"
        return {"type": kind, "low": self.low, "high": self.high, "scale": scale}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Self:
        """Read what `to_plain` returned. Raises ValueError for what makes no sense."""
        try:
            if "choices" in plain:
                found = cls(choices=tuple(plain["choices"]))
            else:
                found = cls(plain["low"], plain["high"], log=plain["scale"] == "log")
            problem = found.problem
        except (TypeError, LookupError) as error:
            raise ValueError(f"{plain!r:.200} describes no hyperparameter") from error
        if problem:
            raise ValueError(problem)
        return found

    def beside(self, other: "Parameter") -> "Parameter":
        """Return what covers both, as one axis of a chart has it."""
        if self == other:
            return self
        if self.is_numeric and other.is_numeric:
            ends = (*self.values, *other.values)
            log = self.log or other.log
            return Parameter(min(ends), max(ends), log=log and min(ends) > 0)
        values = (str(plain_text(value)) for value in (*self.values, *other.values))
        return Parameter(choices=tuple(dict.fromkeys(values)))


Parameters = Mapping[str, Parameter]
"""Hyperparameters by name."""


@dataclass(frozen=True, kw_only=True)
class Known:
    """A hyperparameter that means the same for every network.

    Attributes:
        meaning: What flags and the column of the trials table say.
        unit: Of its values, if any.
        kind: The type of its values.
        style: How it is printed, as `format` takes it; empty for as any other.
        choices: The texts that it may be; empty for a number.
        low: The lowest value that makes sense, or what values must be above.
        low_included: Whether `low` itself makes sense.
        high: The highest value that makes sense, or what values must be below.
        high_included: Whether `high` itself makes sense.
    """

    meaning: str
    unit: str = ""
    kind: type[int] | type[float] | type[str] = float
    style: str = ""
    choices: tuple[str, ...] = ()
    low: float = -math.inf
    low_included: bool = True
    high: float = math.inf
    high_included: bool = True

    def broken_limit(self, value: float) -> str:
        """Return the limit that a value breaks, as in `> 0`; empty where it makes sense."""
        if not (value > self.low or (self.low_included and value == self.low)):
            return f"{'≥' if self.low_included else '>'} {self.low:g}"
        if not (value < self.high or (self.high_included and value == self.high)):
            return f"{'≤' if self.high_included else '<'} {self.high:g}"
        return ""


KNOWN: Mapping[str, Known] = {
    "learning_rate": Known(
        meaning="Adam's step size", style=".2e", low=0.0, low_included=False, high=1e30
    ),
    "dropout": Known(
        meaning="fraction of the activations that are dropped",
        style=".3f",
        low=0.0,
        high=1.0,
        high_included=False,
    ),
    "patience": Known(
        meaning="early-stopping patience", unit="epochs", kind=int, low=1, high=1_000_000
    ),
    "weight_decay": Known(
        meaning="share of the learning rate by which weights shrink with each update",
        style=".2e",
        low=0.0,
        high=1e30,
    ),
    "schedule": Known(
        meaning="how the learning rate changes from update to update",
        kind=str,
        choices=SCHEDULES,
    ),
}
COLUMNS = ("learning_rate", "dropout", "patience")
"""Hyperparameters with a flag and a column of the trials table; the others are in JSON there."""
TRAINING: Parameters = {
    "learning_rate": Parameter(1e-4, 1e-2, log=True),
    "patience": Parameter(2, 10),
    "weight_decay": Parameter(0.0),
    "schedule": Parameter(CONSTANT),
}
"""What training itself uses, whatever the network: in its place, unless the network says it."""


def label(name: str) -> str:
    """Return what charts and tables on a page call a hyperparameter: `Learning rate`."""
    words = name.replace("_", " ")
    return words[:1].upper() + words[1:]


def short(name: str) -> str:
    """Return what lines call a hyperparameter."""
    return "lr" if name == "learning_rate" else name.replace("_", " ")


def range_flag(name: str, parameter: Parameter) -> str:
    """Return what to type for another range or other choices of a hyperparameter."""
    if name in COLUMNS:
        return f"--{name.replace('_', '-')} LOW HIGH"
    if parameter.choices or not parameter.is_numeric:
        return f"--set {name}=A,B"
    return f"--set {name}=LOW:HIGH{':log' if parameter.log else ''}"


def text(name: str, value: Value) -> str:
    """Return a value as it is printed everywhere: `1.88e-03` for a learning rate."""
    if name in KNOWN and KNOWN[name].style and isinstance(value, float):
        return format(value, KNOWN[name].style)
    if isinstance(value, float) and not value.is_integer():
        return f"{value:.3g}"
    return plain_text(value)


def plain_text(value: Value) -> str:
    """Return a value as a person would type it."""
    if isinstance(value, float):
        return f"{value:.0f}" if value.is_integer() and abs(value) < 1e6 else f"{value:g}"
    return {"True": "true", "False": "false"}.get(str(value), str(value))


def problem_of(name: str, parameter: Parameter) -> str:
    """Return why a hyperparameter of this name can't be that; empty where it can."""
    if not name.isidentifier() or name.startswith("_"):
        return f"{name!r} is no name of an argument"
    if problem := parameter.problem:
        return f"{name}: {problem}"
    known = KNOWN.get(name)
    if known is None:
        return ""
    if known.choices:
        others = [value for value in parameter.values if value not in known.choices]
        known_ones = Parameter(choices=known.choices).in_words
        return f"{name} is {known_ones}, but got {plain_text(others[0])}" if others else ""
    if not parameter.is_numeric or (known.kind is int and parameter.kind is not int):
        return f"{name} is {KINDS[known.kind]}, but got {parameter.in_words}"
    for value in parameter.values:
        if limit := known.broken_limit(value):
            return f"{name} {limit} must hold, but got {value}"
    return ""


def corners(space: Parameters) -> Iterator[dict[str, Value]]:
    """Yield a few trials that have between them both ends of each range and each choice."""
    for place in range(max(len(parameter.values) for parameter in space.values())):
        yield {
            name: parameter.values[place % len(parameter.values)]
            for name, parameter in space.items()
        }


def values_of(space: Parameters, said: Mapping[str, Any]) -> dict[str, Any]:
    """Return every hyperparameter of a trial: what is said of it, else what is fixed.

    Args:
        space: The run's.
        said: By name, as `said_of` reads a row of trials.
    """
    return {name: said.get(name, parameter.values[0]) for name, parameter in space.items()}


def training_values(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a trial's hyperparameters as arguments of `TrainingConfig`."""
    return {**{name: values[name] for name in TRAINING}, "chosen": chosen_of(values)}


def chosen_of(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return those that are arguments of the network's constructor."""
    return {name: value for name, value in values.items() if name not in TRAINING}


@dataclass(frozen=True)
class Asked:
    """What a person wants of a network's hyperparameters, instead of what the network declares.

    Attributes:
        ranges: Lowest and highest value by name, on the scale that the network has.
        settings: Texts of `--set`: NAME=LOW:HIGH, NAME=LOW:HIGH:log, NAME=A,B,C or NAME=VALUE.
    """

    ranges: Mapping[str, Range] = field(default_factory=dict)
    settings: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.ranges or self.settings)

    def to_plain(self) -> dict[str, Any]:
        """Return it as JSON takes it."""
        return {"ranges": dict(self.ranges), "settings": list(self.settings)}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Self:
        """Read what `to_plain` returned, or that as JSON has it."""
        ranges = {name: (low, high) for name, (low, high) in plain["ranges"].items()}
        return cls(ranges, tuple(plain["settings"]))

    @property
    def names(self) -> tuple[str, ...]:
        """Which hyperparameters are meant."""
        return (*self.ranges, *(one.partition("=")[0] for one in self.settings))

    def check(self) -> None:
        """Raise UsageError for what no network can be asked for."""
        for setting in self.settings:
            name = setting.partition("=")[0]
            known = KNOWN.get(name)
            parameter = parsed(setting, known.kind if known else None)
            if problem := problem_of(name, parameter):
                raise UsageError(f"--set {setting}: {problem}")
            if self.names.count(name) > 1:
                also = f" and --{name.replace('_', '-')}" if name in self.ranges else " twice"
                raise UsageError(f"--set {setting}{also}: say once what {name} is to be")

    def among(self, spaces: Iterable[Parameters]) -> list["Asked"]:
        """Return what of this each of several networks is asked for: all that it has of it.

        Args:
            spaces: Of the networks.

        Raises:
            UsageError: No network has a hyperparameter that is asked for.
        """
        parts = [
            Asked(
                {name: ends for name, ends in self.ranges.items() if name in space},
                tuple(one for one in self.settings if one.partition("=")[0] in space),
            )
            for space in spaces
        ]
        for name in self.names:
            if not any(name in part.names for part in parts):
                flag = f"--{name.replace('_', '-')}" if name in self.ranges else f"--set {name}"
                raise UsageError(f"{flag}: no network that is tried has it; leave it out")
        return parts

    def of(self, space: Parameters, model: str) -> dict[str, Parameter]:
        """Return a network's space with what is asked for in its place.

        Raises:
            UsageError: The network, which `--model` calls `model`, has no such hyperparameter, or
                none of that type.
        """
        found = dict(space)
        for name, (low, high) in self.ranges.items():
            if name not in space:
                flag = f"--{name.replace('_', '-')}"
                raise UsageError(f"{flag}: {model} has no {name}; leave the flag out")
            found[name] = _on_scale_of(space[name], low, high)
        for setting in self.settings:
            name = setting.partition("=")[0]
            if name not in space:
                raise UsageError(
                    f"--set {setting}: {model} has no hyperparameter {name!r}; "
                    f"it has {', '.join(space)}"
                )
            found[name] = parsed(setting, space[name].kind)
            if problem := problem_of(name, found[name]):
                raise UsageError(f"--set {setting}: {problem}")
        return found


def _on_scale_of(own: Parameter, low: float, high: float) -> Parameter:
    if own.kind is int:
        return Parameter(int(low), int(high), log=own.log)
    return Parameter(float(low), float(high), log=own.log and low > 0)


def parsed(setting: str, kind: type | None = None) -> Parameter:
    """Return what a text of `--set` asks for.

    Args:
        setting: As in `Asked`.
        kind: Type of the values; None takes what they look like.

    Raises:
        UsageError: It is of no such form, or its values are of no such type.
    """
    name, equals, words = setting.partition("=")
    low, *others = words.split(":")
    choices = words.split(",")
    is_range = bool(others)
    if is_range and others[1:] in ([], ["log"]):
        choices = [low, others[0]]
    elif is_range:
        choices = []
    if not (name and equals and choices and all(choices)):
        raise UsageError(
            f"--set {setting}: write NAME=LOW:HIGH, NAME=LOW:HIGH:log, NAME=A,B,C or NAME=VALUE"
        )
    kind = kind or next(one for one in (int, float, bool, str) if _all_are(one, choices))
    if not _all_are(kind, choices):
        raise UsageError(f"--set {setting}: {name} is {KINDS[kind]}")
    values = tuple(_read(kind, word) for word in choices)
    if is_range:
        return Parameter(values[0], values[-1], log=len(others) > 1)
    if len(set(values)) < len(values):
        raise UsageError(f"--set {setting}: name each value once")
    return Parameter(choices=values) if len(values) > 1 else Parameter(values[0])


def point_of(text: str) -> dict[str, str]:
    """Return the hyperparameters that a text of `--start` names, with what was typed for each.

    Raises UsageError where it is of another form, or names one twice.
    """
    named: dict[str, str] = {}
    for part in text.split(","):
        name, equals, word = (one.strip() for one in part.partition("="))
        if not (name and equals and word):
            raise UsageError(f"--start {text}: write NAME=VALUE, with commas between several")
        name = "learning_rate" if name == short("learning_rate") else name
        if name in named:
            raise UsageError(f"--start {text}: say once what {name} is to be")
        named[name] = word
    return named


def _all_are(kind: type, words: list[str]) -> bool:
    try:
        for word in words:
            _read(kind, word)
    except ValueError:
        return False
    return True


def _read(kind: type, word: str) -> Value:
    if kind is bool and word not in ("true", "false"):
        raise ValueError(word)
    value: Value = word == "true" if kind is bool else kind(word)
    return value


def said_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a row of trials says of its hyperparameters, by name.

    Args:
        row: With the columns COLUMNS and `parameters`, each of which may be null; or what a trial
            is given, whose `parameters` are no JSON yet.
    """
    columns = {name: row[name] for name in COLUMNS if row[name] == row[name]}
    said = {name: value for name, value in columns.items() if value is not None}
    parameters = row["parameters"]
    if isinstance(parameters, str):
        parameters = json.loads(parameters)
    return {**said, **(parameters if isinstance(parameters, dict) else {})}
