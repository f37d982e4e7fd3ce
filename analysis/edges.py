"""How far from the edges of its ranges a trial lies, and what to type where it is at one."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from trainables.hyperparameters import (
    KNOWN,
    Parameter,
    range_flag,
    said_of,
    short,
    text,
    values_of,
)

MARGIN = 0.05  # of a range, on its scale: what is nearer to an end than that is at the edge
FEWEST_VALUES = 5  # of whole numbers: with fewer a value is at an edge more often than not


@dataclass(frozen=True)
class Place:
    """Where a trial's value of one hyperparameter lies in what was searched.

    Attributes:
        name: The hyperparameter's.
        parameter: What it may be.
        value: What it is.
        position: From 0 at the low end of a range to 1 at the high end, on its scale; None where
            there is no range.
        edge: `lower` or `upper` where a wider range may have better values; empty elsewhere.
    """

    name: str
    parameter: Parameter
    value: Any
    position: float | None
    edge: str


def places(trial: Mapping[str, Any], space: Mapping[str, Parameter]) -> list[Place]:
    """Return where a trial lies in each dimension of its network's space that was searched.

    Args:
        trial: Its row of trials.
        space: What each hyperparameter may be.
    """
    values = values_of(space, said_of(trial))
    found = []
    for name, parameter in space.items():
        if not parameter.is_fixed:
            value = values[name]
            edge = edge_of(name, parameter, value, trial["stop_reason"])
            found.append(Place(name, parameter, value, parameter.position(value), edge))
    return found


def edge_line(trial: Mapping[str, Any], space: Mapping[str, Parameter]) -> str:
    """Say at which edges of its ranges a trial lies, and how to widen them; empty for none.

    For the arguments see `places`.
    """
    at_edges = [place for place in places(trial, space) if place.edge]
    if not at_edges:
        return ""
    said = " and ".join(
        f"{short(place.name)} {text(place.name, place.value)} is at the {place.edge} edge of "
        f"{place.parameter.in_words}"
        for place in at_edges
    )
    flags = " ".join(range_flag(place.name, place.parameter) for place in at_edges)
    return f"The best may lie outside of what was searched: {said}; widen it: {flags}"


def edge_of(name: str, parameter: Parameter, value: Any, stop_reason: str | None) -> str:
    """Return the edge of a range at which a value lies, as `Place` has it.

    Args:
        name: The hyperparameter's.
        parameter: What it may be.
        value: What it is.
        stop_reason: What ended the trial that has it.
    """
    position = parameter.position(value)
    if position is None:
        return ""
    if parameter.kind is int and parameter.high - parameter.low + 1 < FEWEST_VALUES:
        return ""
    if name == "patience" and stop_reason != "early_stopping":
        return ""  # another one would have changed nothing
    known = KNOWN.get(name)
    if position <= MARGIN and not (known and parameter.low == known.low):
        return "lower"
    if position >= 1 - MARGIN and not (known and parameter.high == known.high):
        return "upper"
    return ""
