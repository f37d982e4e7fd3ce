"""How a trial draws its hyperparameters and its seed."""

import random
from dataclasses import replace

import numpy as np
import pytest

from trainables.networks.registry import find
from tuner.trials.space import Space, trial_seed

WIDE = Space({"learning_rate": (1e-4, 1e-1), "dropout": (0.1, 0.4), "patience": (2, 5)})


def test_the_command_line_replaces_the_networks_own_ranges() -> None:
    defaults = find("fc").defaults
    own = {"learning_rate": defaults.learning_rate, "dropout": defaults.dropout}
    assert Space.of(defaults, {}).ranges == {**own, "patience": defaults.patience}
    asked = {"learning_rate": (1e-3, 2e-3), "dropout": (0.0, 0.0), "patience": (3.0, 3.0)}
    assert Space.of(defaults, asked) == Space(asked)
    assert "dropout" not in Space.of(find("separable").defaults, {}).ranges


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
    fixed = Space({"learning_rate": (rate, rate), "dropout": (0.3, 0.3), "patience": (4, 4)})
    for number in range(10):
        drawn = {"learning_rate": rate, "dropout": 0.3, "patience": 4, "loss": "mse"}
        assert fixed.draw(0, number) == drawn


def test_a_network_without_dropout_draws_none() -> None:
    space = Space({"learning_rate": (1e-4, 1e-1), "patience": (2, 5)})
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
    fixed = {"learning_rate": 0.001, "dropout": 0.25, "patience": 3}
    assert trial_seed(7, fixed) == trial_seed(7, {**fixed, "loss": "mse"}) == 115777839


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
    assert trial_seed(0, drawn) == trial_seed(0, dict(reversed(drawn.items())))
    others = {
        trial_seed(0, drawn),
        trial_seed(1, drawn),
        trial_seed(0, drawn, repeat=1),
        trial_seed(0, drawn, repeat=2),
        trial_seed(0, {**drawn, "patience": drawn["patience"] + 1}),
    }
    assert len(others) == 5
