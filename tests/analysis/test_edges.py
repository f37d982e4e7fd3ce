"""Where a trial lies in what was searched, and what is said where it is at an edge."""

from typing import Any

import pytest

from analysis.edges import edge_line, places
from trainables.hyperparameters import Parameter

RATE = Parameter(1e-4, 1e-2, log=True)
BEYOND = "The best may lie outside of what was searched: "


def trial(rate: float = 1e-3, ending: str = "max_epochs", **more: Any) -> dict[str, Any]:
    columns = {"learning_rate": rate, "dropout": None, "patience": None}
    own = {name: more.pop(name) for name in columns if name in more}
    return {**columns, **own, "parameters": more or None, "stop_reason": ending}


@pytest.mark.parametrize(
    ("rate", "edge"),
    [(1e-4, "lower"), (1.25e-4, "lower"), (1.3e-4, ""), (1e-3, ""), (7.9e-3, ""), (8e-3, "upper")],
)
def test_the_edge_is_a_twentieth_of_the_range_on_its_scale(rate: float, edge: str) -> None:
    (place,) = places(trial(rate), {"learning_rate": RATE})
    assert place.edge == edge


def test_places_are_those_of_what_was_searched() -> None:
    space = {"learning_rate": RATE, "hidden": Parameter(128), "kind": Parameter(choices=("a", "b"))}
    found = places(trial(1e-3, kind="b"), space)
    assert [(one.name, one.value, one.position, one.edge) for one in found] == [
        ("learning_rate", 1e-3, pytest.approx(0.5), ""),
        ("kind", "b", None, ""),
    ]


def test_the_line_says_for_every_edge_what_to_type() -> None:
    space = {"learning_rate": RATE, "hidden": Parameter(32, 512, log=True)}
    assert edge_line(trial(1e-3, hidden=100), space) == ""
    assert edge_line(trial(9.9e-3, hidden=33), space) == (
        f"{BEYOND}lr 9.90e-03 is at the upper edge of 0.0001 to 0.01 (log) and hidden 33 is at the "
        f"lower edge of 32 to 512 (log); widen it: --learning-rate LOW HIGH "
        f"--set hidden=LOW:HIGH:log"
    )


@pytest.mark.parametrize(
    ("name", "parameter", "value", "is_edge"),
    [
        ("dropout", Parameter(0.0, 0.5), 0.0, False),  # below 0 makes no sense
        ("dropout", Parameter(0.1, 0.5), 0.1, True),
        ("dropout", Parameter(0.0, 0.5), 0.5, True),
        ("depth", Parameter(4, 5), 5, False),  # one of both it must be
        ("depth", Parameter(4, 12), 12, True),
    ],
)
def test_no_edge_is_where_nothing_is_beyond_or_where_every_value_is_an_end(
    name: str, parameter: Parameter, value: Any, is_edge: bool
) -> None:
    assert bool(edge_line(trial(**{name: value}), {name: parameter})) == is_edge


def test_a_patience_that_ended_nothing_is_at_no_edge() -> None:
    space = {"patience": Parameter(2, 10)}
    assert edge_line(trial(patience=10), space) == ""
    assert "patience 10 is at the upper edge of 2 to 10; widen it: --patience LOW HIGH" in (
        edge_line(trial(ending="early_stopping", patience=10), space)
    )
