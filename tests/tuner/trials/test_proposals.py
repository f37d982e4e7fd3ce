"""Which trial comes next, whatever happened to those before it."""

import math
import random
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from trainables.hyperparameters import Parameter
from tuner.trials.proposals import Proposals, proposal
from tuner.trials.reporter import OBJECTIVE
from tuner.trials.space import Space
from tuner.trials.tpe import Tpe

SPACE = Space(
    {
        "learning_rate": Parameter(1e-4, 1e-1, log=True),
        "dropout": Parameter(0.0, 0.5),
        "patience": Parameter(2, 10),
    }
)


def proposals(
    *given: Any,
    next_number: int = 0,
    samples: int = 12,
    space: Space = SPACE,
    tpe: Any = None,
    **more: Any,
) -> Proposals:
    """Those of a search with one network."""
    more = {"seed": 0, "numbers": range(next_number, samples), **more}
    return Proposals(given, spaces={"fc": space}, tpe=tpe and {"fc": tpe}, **more)


def tpe(space: Space, seed: int, known: Any) -> Tpe:
    """TPE that knows trials of earlier sessions with what they reached."""
    finished = [(drawn, "max_epochs", 3, reached) for drawn, reached in known]
    return Tpe(space, seed, finished, startup_trials=10)


def ended(reached: float) -> dict[str, Any]:
    """What a trial reported last."""
    reason = "diverged" if math.isnan(reached) else "max_epochs"
    return {OBJECTIVE: reached, "epoch": 3, "stop_reason": reason}


def all_of(
    searcher: Proposals, luck: random.Random, loss: Any = lambda config: 0.5
) -> list[dict[str, Any]]:
    """Every proposal, with trials that end in any order: soundly, diverged or with an error."""
    proposed: list[dict[str, Any]] = []
    running: dict[str, dict[str, Any]] = {}
    while True:
        config = searcher.suggest(f"id-{len(proposed)}")
        if config == Proposals.FINISHED and not running:
            return proposed
        if isinstance(config, dict):
            running[f"id-{len(proposed)}"] = config
            proposed.append(config)
        if running and (not isinstance(config, dict) or luck.random() < 0.5):
            trial = luck.choice(sorted(running))
            end = luck.choice(["result", "result", "nan", "error"])
            config = running.pop(trial)
            reached = math.nan if end == "nan" else loss(config)
            searcher.on_trial_complete(
                trial, None if end == "error" else ended(reached), error=end == "error"
            )


@pytest.mark.parametrize("live_limit", [None, 1, 3])
def test_numbers_and_configurations_are_the_same_whatever_finishes_first(
    live_limit: int | None,
) -> None:
    alike = [all_of(proposals(live_limit=live_limit), random.Random(luck)) for luck in range(4)]
    assert all(configs == alike[0] for configs in alike)
    assert [config["number"] for config in alike[0]] == list(range(12))
    assert len({config["learning_rate"] for config in alike[0]}) == 12


def test_a_search_that_goes_on_proposes_what_it_would_have() -> None:
    whole = all_of(proposals(), random.Random(0))
    assert all_of(proposals(next_number=5), random.Random(1)) == whole[5:]


def test_a_new_trial_has_its_draw_its_seed_and_nothing_to_go_on_from() -> None:
    drawn = SPACE.draw(9, 4)
    config = proposals(next_number=4, seed=9).suggest("id")
    nothing = {"repeat_of": None, "checkpoints": [], "known_epochs": 0}
    assert config == {"number": 4, "model": "fc", **drawn, "seed": SPACE.seed(9, drawn), **nothing}


def test_given_trials_come_first_and_do_not_use_numbers_up() -> None:
    given = [
        proposal(n, "fc", SPACE.draw(0, n), seed=1, checkpoints=["c"], known_epochs=2)
        for n in (1, 3)
    ]
    configs = all_of(proposals(*given, next_number=10), random.Random(0))
    assert configs[:2] == given
    assert [config["number"] for config in configs] == [1, 3, 10, 11]


def test_given_trials_alone_are_a_search_too() -> None:
    searcher = proposals(proposal(7, "fc", SPACE.draw(0, 7), seed=1), samples=0)
    assert not searcher.finished
    assert searcher.suggest("a")["number"] == 7
    assert searcher.finished
    assert searcher.suggest("b") == Proposals.FINISHED


@pytest.mark.parametrize(
    "ending",
    [(ended(0.5), False), (ended(math.nan), False), (None, True)],
    ids=["ends", "nan", "error"],
)
def test_no_more_trials_than_the_limit_are_unfinished(ending: tuple[Any, bool]) -> None:
    searcher = proposals(live_limit=2)
    assert [searcher.suggest("a")["number"], searcher.suggest("b")["number"]] == [0, 1]
    assert searcher.suggest("c") is None
    assert searcher.suggest("c") is None
    searcher.on_trial_complete("a", *ending)
    assert searcher.suggest("c")["number"] == 2
    assert searcher.suggest("d") is None


def in_range(config: dict[str, Any]) -> bool:
    low, high = SPACE.parameters["learning_rate"].values
    return (
        low <= config["learning_rate"] <= high
        and 0 <= config["dropout"] <= 0.5
        and 2 <= config["patience"] <= 10
    )


def loss(config: dict[str, Any]) -> float:
    """Lowest at a learning rate of 0.03."""
    return abs(math.log(config["learning_rate"] / 0.03))


def test_tpe_takes_nan_and_errors_and_stays_within_the_ranges() -> None:
    search = tpe(SPACE, 0, [])
    configs = all_of(proposals(samples=40, tpe=search), random.Random(0), loss)
    assert [config["number"] for config in configs] == list(range(40))
    assert all(in_range(config) for config in configs)
    assert len({config["seed"] for config in configs}) == 40
    states = {trial.state.name for trial in search._study.trials}
    assert states == {"COMPLETE", "PRUNED", "FAIL"}


def test_tpe_knows_trials_that_it_has_not_proposed() -> None:
    search = tpe(SPACE, 0, [])
    searcher = proposals(proposal(0, "fc", SPACE.draw(0, 0), seed=1), next_number=1, tpe=search)
    assert searcher.suggest("given")["number"] == 0
    searcher.on_trial_complete("given", ended(0.5))
    assert searcher.suggest("new")["number"] == 1
    assert [trial.value for trial in search._study.trials] == [0.5, None]


def test_a_trial_that_does_not_say_why_it_ends_was_stopped_by_the_scheduler() -> None:
    search = tpe(SPACE, 0, [])
    searcher = proposals(tpe=search, scheduler="median")
    searcher.suggest("a")
    searcher.on_trial_complete("a", {**ended(0.5), "stop_reason": ""})
    (trial,) = search._study.trials
    assert (trial.state.name, trial.intermediate_values) == ("PRUNED", {3: 0.5})


def test_tpe_learns_where_the_loss_is_low() -> None:
    searcher, configs = proposals(samples=60, tpe=tpe(SPACE, 0, [])), []
    for number in range(60):
        configs.append(searcher.suggest(str(number)))
        searcher.on_trial_complete(str(number), ended(loss(configs[-1])))
    losses = [loss(config) for config in configs]
    assert np.median(losses[-30:]) < np.median(losses[:10]) / 3


def test_tpe_goes_on_from_what_earlier_sessions_found() -> None:
    known = [SPACE.draw(0, number) for number in range(40)]
    told = [(hyperparameters, loss(hyperparameters)) for hyperparameters in known]
    told += [
        ({"learning_rate": 1e-4, "dropout": 0.1, "patience": 3, "parameters": {}}, bad)
        for bad in (math.nan, math.inf)
    ]

    def losses(finished: Any) -> list[float]:
        searcher = proposals(samples=20, tpe=tpe(SPACE, 0, finished))
        return [loss(searcher.suggest(str(number))) for number in range(20)]

    assert np.median(losses(told)) < np.median(losses([])) / 3


def test_tpe_searches_a_network_without_dropout() -> None:
    space = Space({"learning_rate": Parameter(1e-3), "patience": Parameter(2)})
    known = [({"learning_rate": 1e-3, "dropout": None, "patience": 2, "parameters": {}}, 0.1)]
    config = proposals(space=space, tpe=tpe(space, 0, known)).suggest("id")
    assert (config["learning_rate"], config["dropout"], config["patience"]) == (1e-3, None, 2)


def test_tpe_searches_whatever_the_network_has_and_goes_on_from_it() -> None:
    more = {"hidden": Parameter(1, 512, log=True), "kind": Parameter(choices=("good", "bad"))}
    space = Space({**SPACE.parameters, **more, "depth": Parameter(4)}, asked=("depth",))
    known = [
        (drawn, abs(math.log(drawn["parameters"]["hidden"] / 64)) + (kind == "bad"))
        for drawn in (space.draw(0, number) for number in range(40))
        for kind in [drawn["parameters"]["kind"]]
    ]
    searcher = proposals(samples=30, space=space, tpe=tpe(space, 0, known))
    found = [searcher.suggest(str(number))["parameters"] for number in range(30)]
    assert all(set(one) == {"hidden", "kind", "depth"} for one in found)
    assert {one["depth"] for one in found} == {4}
    assert sum(one["kind"] == "good" for one in found) > 20
    assert 32 < np.median([one["hidden"] for one in found]) < 128


BOTH = replace(SPACE, losses=("mse", "perceptual"))


def test_tpe_searches_the_loss_and_learns_which_is_better() -> None:
    searcher, configs = proposals(samples=60, space=BOTH, tpe=tpe(BOTH, 0, [])), []
    for number in range(60):
        configs.append(searcher.suggest(str(number)))
        searcher.on_trial_complete(
            str(number), ended(-0.9 if configs[-1]["loss"] == "perceptual" else -0.1)
        )
    assert {config["loss"] for config in configs[:20]} == {"mse", "perceptual"}
    assert sum(config["loss"] == "perceptual" for config in configs[-20:]) > 15


def test_tpe_goes_on_from_earlier_sessions_losses() -> None:
    known = [(BOTH.draw(0, number), -0.9 if number % 2 else -0.1) for number in range(40)]
    searcher = proposals(samples=20, space=BOTH, tpe=tpe(BOTH, 0, known))
    assert sum(searcher.suggest(str(number))["loss"] == "perceptual" for number in range(20)) > 15


def test_tpe_with_one_loss_proposes_that_loss() -> None:
    space = replace(SPACE, losses=("perceptual",))
    searcher = proposals(space=space, tpe=tpe(space, 0, [(space.draw(0, 0), 0.1)]))
    assert searcher.suggest("a")["loss"] == "perceptual"


def test_tpe_takes_every_seed_that_a_random_search_takes() -> None:
    assert proposals(seed=2**32).suggest("id")["number"] == 0
    assert proposals(seed=2**32, tpe=tpe(SPACE, 2**32, [])).suggest("id")["number"] == 0


def test_networks_take_turns_and_each_has_every_loss() -> None:
    spaces = {"fc": BOTH, "cnn": replace(BOTH, parameters={**BOTH.parameters})}
    searcher = Proposals([], spaces=spaces, seed=0, numbers=range(8))
    found = [searcher.suggest(str(number)) for number in range(8)]
    kinds = [(one["model"], one["loss"]) for one in found]
    assert kinds[:4] == [
        ("fc", "mse"), ("fc", "perceptual"), ("cnn", "mse"), ("cnn", "perceptual")
    ]  # fmt: skip
    assert kinds[4:] == kinds[:4]


def test_tpe_learns_of_each_network_from_its_own_trials() -> None:
    rate = {"patience": Parameter(2), "learning_rate": Parameter(1e-4, 1e-1, log=True)}
    spaces = {"fc": Space(rate), "cnn": Space({**rate, "depth": Parameter(1, 8)})}
    own = {name: tpe(space, 0, []) for name, space in spaces.items()}
    searcher = Proposals([], spaces=spaces, seed=0, numbers=range(80), tpe=own)
    found = []
    for number in range(80):
        one = searcher.suggest(str(number))
        found.append(one)
        # What is best for one of them is worst for the other
        sign = 1 if one["model"] == "fc" else -1
        objective = sign * math.log(one["learning_rate"])
        searcher.on_trial_complete(str(number), ended(objective))
    last = {
        model: np.median([one["learning_rate"] for one in found[40:] if one["model"] == model])
        for model in spaces
    }
    assert last["fc"] < 1e-3 < 3e-2 < last["cnn"]
    assert {tuple(one["parameters"]) for one in found if one["model"] == "fc"} == {()}
    assert {tuple(one["parameters"]) for one in found if one["model"] == "cnn"} == {("depth",)}
