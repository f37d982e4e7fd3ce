"""`--start`: which trials begin with which point, and what is refused."""

import re

import pytest

from trainables.errors import UsageError
from trainables.hyperparameters import Parameter, point_of
from tuner.progress.lines import start_lines
from tuner.settings import SearchConfig
from tuner.trials.proposals import Proposals
from tuner.trials.space import Space
from tuner.trials.starting_points import starting_points

RATE = Parameter(1e-4, 1e-2, log=True)
FC = Space({"learning_rate": RATE, "dropout": Parameter(0.0, 0.5), "hidden": Parameter(32, 512)})
CNN = Space({"learning_rate": RATE, "depth": Parameter(choices=(2, 4))})
ONE = {"fc": FC}
TWO = {"fc": FC, "cnn": CNN}


def config(*start: str, samples: int = 4) -> SearchConfig:
    return SearchConfig(start=start, samples=samples)


def test_points_go_to_the_first_trials_and_the_rest_of_them_is_drawn_as_ever() -> None:
    points = starting_points(config("lr=1e-3,dropout=0.1", "hidden=64"), ONE)
    assert {number: point.values for number, point in points.items()} == {
        0: {"learning_rate": 1e-3, "dropout": 0.1},
        1: {"hidden": 64},
    }
    starts = {number: point.values for number, point in points.items()}
    searcher = Proposals([], spaces=ONE, seed=0, numbers=range(3), starts=starts)
    first, second, third = (searcher.suggest(str(number)) for number in range(3))
    drawn = [FC.draw(0, number) for number in range(3)]
    assert (first["learning_rate"], first["dropout"]) == (1e-3, 0.1)
    assert first["parameters"] == drawn[0]["parameters"]
    assert second["parameters"] == {"hidden": 64}
    assert second["learning_rate"] == drawn[1]["learning_rate"]
    assert third["parameters"] == drawn[2]["parameters"]
    assert first["seed"] == FC.seed(0, first)


def test_every_network_that_has_a_point_in_its_space_tries_it_in_its_own_first_trials() -> None:
    points = starting_points(config("lr=1e-3", "depth=4", "hidden=64"), TWO)
    assert {number: (point.model, point.text) for number, point in points.items()} == {
        0: ("fc", "lr=1e-3"),
        1: ("cnn", "lr=1e-3"),
        2: ("fc", "hidden=64"),
        3: ("cnn", "depth=4"),
    }


def test_a_loss_that_is_searched_may_be_named() -> None:
    both = Space(FC.parameters, ("mse", "perceptual"))
    assert both.point({"loss": "perceptual"}, "fc") == {"loss": "perceptual"}
    assert both.draw(0, 0, {"loss": "perceptual"})["loss"] == "perceptual"


@pytest.mark.parametrize(
    ("start", "told"),
    [
        (
            ("hiden=64",),
            "--start hiden=64: fc has no hyperparameter 'hiden'; it has learning_rate,",
        ),
        (
            ("lr=0.5",),
            "--start lr=0.5: learning_rate of fc is 0.0001 to 0.01 (log) here, but got 0.5; change "
            "one of both, the space with --learning-rate LOW HIGH",
        ),
        (("lr=nan",), "learning_rate of fc is 0.0001 to 0.01 (log) here, but got nan"),
        (
            ("lr=1e-3",) * 5,
            "--start, given 5 times: fc gets 4 of --samples 4 trials; give more --samples, or "
            "--start less often",
        ),
    ],
)
def test_what_can_not_be_tried_is_refused_in_one_sentence(
    start: tuple[str, ...], told: str
) -> None:
    with pytest.raises(UsageError, match=re.escape(told)):
        starting_points(config(*start), ONE)


@pytest.mark.parametrize(
    ("start", "told"),
    [
        ("lr=abc", "learning_rate of fc is a number, 0.0001 to 0.01 (log) here, but got abc"),
        ("hidden=64.5", "hidden of fc is a whole number, 32 to 512 here, but got 64.5"),
    ],
)
def test_no_other_range_is_advised_for_what_is_of_another_type(start: str, told: str) -> None:
    with pytest.raises(UsageError, match=f"^{re.escape(f'--start {start}: {told}')}$"):
        starting_points(config(start), ONE)


def test_a_point_that_no_network_has_is_refused() -> None:
    told = (
        "--start depth=3: fc has no hyperparameter 'depth'; it has learning_rate, dropout, hidden"
        "; no other network that is tried has it"
    )
    with pytest.raises(UsageError, match=re.escape(told)):
        starting_points(config("depth=3"), TWO)


def test_with_auto_a_point_may_be_for_a_network_that_does_not_fit_and_that_is_told() -> None:
    auto = SearchConfig(start=("channels=32", "depth=4"), samples=4, model="auto")
    assert [*starting_points(auto, TWO)] == [1]
    assert start_lines(auto, TWO) == [
        "--start channels=32: no network that fits has it",
        "--start depth=4: trial 1 (cnn)",
    ]


@pytest.mark.parametrize("text", ["", "lr", "lr=", "=1", "lr=1,", "lr=1,dropout"])
def test_a_point_of_another_form_is_told_how_to_write_one(text: str) -> None:
    with pytest.raises(UsageError, match=re.escape(f"--start {text}: write NAME=VALUE, with")):
        SearchConfig(start=(text,))


def test_a_point_names_each_once() -> None:
    assert point_of(" lr = 1e-3 , hidden=64") == {"learning_rate": "1e-3", "hidden": "64"}
    with pytest.raises(UsageError, match="say once what learning_rate is to be"):
        point_of("lr=1,learning_rate=2")
