"""How a trial draws its hyperparameters and its seed."""

import random
from dataclasses import replace

import numpy as np
import pytest

from trainables.errors import UsageError
from trainables.hyperparameters import Asked, Parameter
from trainables.networks.base import space_of
from trainables.networks.registry import find
from tuner.trials.space import Space

RATE = Parameter(1e-4, 1e-1, log=True)
WIDE = Space({"learning_rate": RATE, "dropout": Parameter(0.1, 0.4), "patience": Parameter(2, 5)})
MORE = {
    **WIDE.parameters,
    "hidden": Parameter(32, 512, log=True),
    "kind": Parameter(choices=("relu", "gelu")),
    "depth": Parameter(4),
}


def test_the_command_line_replaces_the_networks_own_space() -> None:
    own = space_of(find("fc"))
    assert Space.of(own, Asked()).parameters == own
    asked = Asked(
        {"learning_rate": (1e-3, 2e-3), "patience": (3, 3)}, ("dropout=0", "hidden=32:64")
    )
    space = Space.of(own, asked)
    assert space.parameters == {
        **own,
        "learning_rate": Parameter(1e-3, 2e-3, log=True),
        "patience": Parameter(3, 3),
        "dropout": Parameter(0.0),
        "hidden": Parameter(32, 64),
    }
    assert (space.searched, space.asked) == (
        ["hidden"],
        ("learning_rate", "patience", "dropout", "hidden"),
    )


@pytest.mark.parametrize("name", ["epochs", "seed", "loss", "series"])
def test_a_hyperparameter_with_the_name_of_another_column_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match=f"^a hyperparameter can't be called {name}, as another"):
        Space.of({**WIDE.parameters, name: Parameter(1)}, Asked())


# As version 0.1.0 drew them: a new default changes no run's numbers
FIRST = {
    "fc": [
        (0, 0.0018789852661499496, 0.13489335688193516, 4, 1780297154, 4152283685),
        (1, 0.006018351965254262, 0.27856902510311315, 4, 525727224, 1331095817),
        (7, 0.00011959750625104799, 0.38856373858004, 7, 4067465992, 3113193838),
    ],
    "separable": [
        (0, 0.01878985266149949, None, 6, 455939150, 3476128045),
        (1, 0.06018351965254263, None, 10, 1610910105, 2377056206),
        (7, 0.001195975062510478, None, 4, 1110783396, 511664416),
    ],
}
FIRST["cnn"] = FIRST["fc"]


@pytest.mark.parametrize("model", FIRST)
@pytest.mark.parametrize(
    "settings",
    [(), ("weight_decay=1e-4", "schedule=one-cycle")],
    ids=["default", "two more fixed"],
)
def test_default_runs_draw_what_they_always_drew(model: str, settings: tuple[str, ...]) -> None:
    space = Space.of(space_of(find(model)), Asked({}, settings))
    for number, rate, dropout, patience, seed, other in FIRST[model]:
        drawn = space.draw(0, number)
        assert (drawn["learning_rate"], drawn["dropout"], drawn["patience"]) == (
            rate,
            dropout,
            patience,
        )
        assert drawn["parameters"] == (
            {"schedule": "one-cycle", "weight_decay": 1e-4} if settings else {}
        )
        assert (space.seed(0, drawn), space.seed(3, drawn, repeat=2)) == (seed, other)


def test_what_else_is_searched_is_drawn_beside_what_would_be_drawn_anyway() -> None:
    space = Space(MORE)
    drawn = [space.draw(0, number) for number in range(300)]
    for number, one in enumerate(drawn):
        assert {**one, "parameters": {}} == WIDE.draw(0, number)
        assert list(one["parameters"]) == ["hidden", "kind"]
    alone = Space({**WIDE.parameters, "hidden": MORE["hidden"]})
    hidden = [one["parameters"]["hidden"] for one in drawn]
    assert hidden == [alone.draw(0, number)["parameters"]["hidden"] for number in range(300)]
    assert {type(one) for one in hidden} == {int}
    assert 32 <= min(hidden) < 40
    assert 420 < max(hidden) <= 512
    assert np.median(hidden) == pytest.approx(128, rel=0.2)  # in the middle of the logarithms
    kinds = [one["parameters"]["kind"] for one in drawn]
    assert 100 < kinds.count("relu") < 200


@pytest.mark.parametrize("seed", range(4))
def test_choices_take_turns_so_that_as_many_trials_have_each(seed: int) -> None:
    space = Space({**WIDE.parameters, "block": Parameter(choices=(0, 8, 16))})
    blocks = [space.draw(seed, number)["parameters"]["block"] for number in range(9)]
    assert [set(blocks[start : start + 3]) for start in (0, 3, 6)] == 3 * [{0, 8, 16}]


def test_whole_numbers_on_a_logarithmic_scale_reach_both_ends() -> None:
    space = Space({**WIDE.parameters, "depth": Parameter(1, 3, log=True)})
    drawn = [space.draw(0, number)["parameters"]["depth"] for number in range(100)]
    assert set(drawn) == {1, 2, 3}


def test_only_what_is_searched_enters_a_seed() -> None:
    space = Space(MORE, asked=("depth",))
    drawn = space.draw(0, 0)
    assert drawn["parameters"]["depth"] == 4
    other = {**drawn, "parameters": {**drawn["parameters"], "depth": 5}}
    assert space.seed(0, other) == space.seed(0, drawn)
    other = {**drawn, "parameters": {**drawn["parameters"], "hidden": 33}}
    assert space.seed(0, other) != space.seed(0, drawn)


def test_optuna_searches_what_is_searched() -> None:
    found = Space(MORE).distributions()
    assert set(found) == {"learning_rate", "dropout", "patience", "hidden", "kind"}
    assert (found["hidden"].low, found["hidden"].high, found["hidden"].log) == (32, 512, True)
    assert found["kind"].choices == ("relu", "gelu")


def test_draws_lie_within_their_ranges_and_reach_both_ends_of_patience() -> None:
    drawn = [WIDE.draw(0, number) for number in range(500)]
    assert all(1e-4 <= h["learning_rate"] <= 1e-1 and 0.1 <= h["dropout"] <= 0.4 for h in drawn)
    assert {h["patience"] for h in drawn} == {2, 3, 4, 5}


def test_learning_rates_are_uniform_in_their_logarithm() -> None:
    rates = [WIDE.draw(1, number)["learning_rate"] for number in range(2000)]
    quartiles = np.log10(np.quantile(rates, [0.25, 0.5, 0.75]))
    assert quartiles == pytest.approx([-3.25, -2.5, -1.75], abs=0.1)


def test_dropout_is_uniform() -> None:
    rates = [WIDE.draw(1, number)["dropout"] for number in range(2000)]
    assert np.quantile(rates, [0.25, 0.5, 0.75]) == pytest.approx([0.175, 0.25, 0.325], abs=0.015)


def test_a_draw_depends_on_seed_and_number_only() -> None:
    numbers = list(range(30))
    in_order = {n: WIDE.draw(3, n) for n in numbers}
    random.Random(0).shuffle(numbers)
    assert {n: WIDE.draw(3, n) for n in numbers} == in_order
    assert len({h["learning_rate"] for h in in_order.values()}) == 30
    assert not {h["learning_rate"] for h in in_order.values()} & {
        WIDE.draw(4, n)["learning_rate"] for n in range(30)
    }


@pytest.mark.parametrize("rate", [1e-3, 0.1, 3e-4, 0.007])
def test_equal_ends_fix_a_value_exactly(rate: float) -> None:
    fixed = Space(
        {
            "learning_rate": Parameter(rate, rate, log=True),
            "dropout": Parameter(0.3),
            "patience": Parameter(4, 4),
        }
    )
    for number in range(10):
        drawn = {"learning_rate": rate, "dropout": 0.3, "patience": 4, "loss": "mse"}
        drawn["parameters"] = {}
        assert fixed.draw(0, number) == drawn


def test_a_network_without_dropout_draws_none() -> None:
    space = Space({"learning_rate": RATE, "patience": Parameter(2, 5)})
    assert space.draw(0, 0)["dropout"] is None
    assert set(space.distributions()) == {"learning_rate", "patience"}


def test_losses_take_turns_and_change_nothing_else_of_a_draw() -> None:
    both = replace(WIDE, losses=("mse", "perceptual"))
    drawn = [both.draw(0, number) for number in range(4)]
    assert [h["loss"] for h in drawn] == ["mse", "perceptual", "mse", "perceptual"]
    assert [{**h, "loss": "mse"} for h in drawn] == [WIDE.draw(0, number) for number in range(4)]
    assert replace(WIDE, losses=("perceptual",)).draw(0, 0)["loss"] == "perceptual"


def test_draws_and_seeds_of_mse_are_those_from_before_there_was_another_loss() -> None:
    drawn = WIDE.draw(0, 0)
    rates = (0.008144886973076106, 0.1809360141291611)
    assert (drawn["learning_rate"], drawn["dropout"], drawn["patience"]) == (
        *map(pytest.approx, rates),
        3,
    )
    fixed = {"learning_rate": 0.001, "dropout": 0.25, "patience": 3, "parameters": {}}
    assert WIDE.seed(7, fixed) == WIDE.seed(7, {**fixed, "loss": "mse"}) == 115777839


def test_the_loss_is_searched_by_optuna_where_there_are_several() -> None:
    assert "loss" not in WIDE.distributions()
    assert replace(WIDE, losses=("mse", "perceptual")).distributions()["loss"].choices == (
        "mse",
        "perceptual",
    )


def test_optuna_searches_the_same_ranges() -> None:
    told = WIDE.distributions()
    assert {name: (d.low, d.high, d.log) for name, d in told.items()} == {
        "learning_rate": (1e-4, 1e-1, True),
        "dropout": (0.1, 0.4, False),
        "patience": (2, 5, False),
    }


def test_a_trials_seed_follows_from_search_hyperparameters_and_repeat() -> None:
    drawn = WIDE.draw(0, 0)
    assert WIDE.seed(0, drawn) == WIDE.seed(0, dict(reversed(drawn.items())))
    others = {
        WIDE.seed(0, drawn),
        WIDE.seed(1, drawn),
        WIDE.seed(0, drawn, repeat=1),
        WIDE.seed(0, drawn, repeat=2),
        WIDE.seed(0, {**drawn, "patience": drawn["patience"] + 1}),
    }
    assert len(others) == 5
