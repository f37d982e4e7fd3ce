"""The points of `--start`: what is known of the first trials before they are drawn."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from trainables.errors import UsageError
from trainables.hyperparameters import point_of
from trainables.networks.registry import AUTO
from tuner.settings import SearchConfig
from tuner.trials.space import Space, network_of


class StartingPoint(NamedTuple):
    """What `--start` gives to one trial.

    Attributes:
        text: As it was typed.
        model: The network of the trial.
        values: The hyperparameters that it names.
    """

    text: str
    model: str
    values: dict[str, Any]


def starting_points(config: SearchConfig, spaces: Mapping[str, Space]) -> dict[int, StartingPoint]:
    """Return the point of each trial that has one, by its number.

    Every network tries each point that lies in its space, one after the other in its first trials.
    With `--model auto` a point may be for a network that does not fit the task: no trial has it.

    Args:
        config: The settings, complete.
        spaces: What trials are drawn from, by network.

    Raises:
        UsageError: A point lies in no network's space, or there are more than trials.
    """
    found = points_of(config.start or (), spaces, may_be_of_others=config.model == AUTO)
    by_number: dict[int, StartingPoint] = {}
    turns: dict[str, list[int]] = {model: [] for model in spaces}
    for number in range(config.samples or 0):
        turns[network_of(number, spaces)].append(number)
    for model, points in found.items():
        if len(points) > len(turns[model]):
            raise UsageError(
                f"--start, given {len(points)} times: {model} gets {len(turns[model])} of "
                f"--samples {config.samples} trials; give more --samples, or --start less often"
            )
        by_number.update(zip(turns[model], points, strict=False))
    return dict(sorted(by_number.items()))


def points_of(
    texts: Sequence[str], spaces: Mapping[str, Space], *, may_be_of_others: bool = False
) -> dict[str, list[StartingPoint]]:
    """Return the points that each network tries: those that lie in its space, in their order.

    Args:
        texts: As they were typed.
        spaces: What trials are drawn from, by network.
        may_be_of_others: Whether a point may lie in the space of a network that is not here.

    Raises:
        UsageError: A point lies in no network's space.
    """
    found: dict[str, list[StartingPoint]] = {model: [] for model in spaces}
    for text in texts:
        problems = []
        for model, space in spaces.items():
            try:
                point = StartingPoint(text, model, space.point(point_of(text), model))
            except UsageError as error:
                problems.append(str(error))
            else:
                found[model].append(point)
        if len(problems) == len(spaces) and not may_be_of_others:
            also = "; no other network that is tried has it" if len(spaces) > 1 else ""
            raise UsageError(f"--start {text}: {problems[0]}{also}")
    return found
