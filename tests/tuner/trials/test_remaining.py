"""What a search, begun or resumed, has still to do."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from trainables.goal import USUAL
from trainables.networks import base as networks
from trainables.networks.registry import find
from tuner.settings import SearchConfig
from tuner.storage.run_storage import STATE_FILE, Experiment, trial_directory
from tuner.trials.proposals import Proposals, repeats, searched_trials
from tuner.trials.space import Space

CONFIG = SearchConfig(name="r", samples=30, max_epochs=9)
NOWHERE = Experiment.of("nowhere", "r")
BOTH = replace(CONFIG, loss="mse,perceptual")


def spaces_of(config: SearchConfig) -> dict[str, Space]:
    own = networks.space_of(find(config.model))
    return {config.model: Space.of(own, config.asked, config.losses)}


def row(number: int, reason: str | None, **more: Any) -> dict[str, Any]:
    drawn = spaces_of(CONFIG)["fc"].draw(0, number)
    loss = {"best_validation_loss": 0.1 * (number + 1), "epochs": 4}
    return {
        "trial": number,
        "model": "fc",
        "stop_reason": reason,
        "repeat_of": None,
        "seed": number,
        **drawn,
        "parameters": None,
        **loss,
        **more,
    }


def repeat(number: int, reason: str, of: dict[str, Any], count: int) -> dict[str, Any]:
    """The row of a finalist's repeat: seeds say which of them it is."""
    space = spaces_of(CONFIG)["fc"]
    drawn = {name: of[name] for name in ("learning_rate", "dropout", "patience")}
    seed = space.seed(0, {**drawn, "parameters": {}}, count)
    return row(number, reason, repeat_of=of["trial"], **drawn, seed=seed)


def ask(searcher: Proposals, most: int = 100) -> list[Any]:
    asked = [searcher.suggest(str(index)) for index in range(most)]
    return [config for config in asked if config not in (None, Proposals.FINISHED)]


def test_a_resumed_search_does_what_is_unfinished_first_and_then_the_rest(tmp_path: Path) -> None:
    config = SearchConfig(name="r", search="random", samples=9, max_epochs=9)
    experiment = Experiment.of(str(tmp_path), "r")
    checkpoint = Path(experiment.root) / "session-001" / trial_directory(2) / "checkpoint_000003"
    checkpoint.mkdir(parents=True)
    torch.save({}, checkpoint / STATE_FILE)
    ends = ["max_epochs", "asha", "interrupted", None, "diverged", "error", "early_stopping"]
    earlier = [row(number, reason) for number, reason in enumerate(ends)] + [
        row(20, None, repeat_of=0)
    ]
    configs = ask(
        searched_trials(config, USUAL, spaces_of(config), experiment, earlier, {3}, slots=4)
    )
    assert [c["number"] for c in configs] == [2, 5, 7, 8]
    assert configs[0] == {
        **{
            name: earlier[2][name]
            for name in (
                "model",
                "learning_rate",
                "dropout",
                "patience",
                "loss",
                "seed",
                "repeat_of",
            )
        },
        "parameters": {},
        **{"number": 2, "checkpoints": [str(checkpoint)], "known_epochs": 4},
    }
    fresh = ask(searched_trials(config, USUAL, spaces_of(config), experiment, [], set(), slots=4))
    assert configs[2:] == fresh[7:]


def test_a_trial_that_a_killed_search_had_proposed_and_not_started_is_not_lost() -> None:
    config = SearchConfig(name="r", samples=4, max_epochs=9)
    configs = ask(
        searched_trials(
            config,
            USUAL,
            spaces_of(config),
            NOWHERE,
            [row(1, None), row(2, "max_epochs")],
            set(),
            slots=4,
        )
    )
    assert [c["number"] for c in configs] == [1, 0, 3]
    fresh = ask(searched_trials(config, USUAL, spaces_of(config), NOWHERE, [], set(), slots=4))
    assert configs[1:] == [fresh[0], fresh[3]]


@pytest.mark.parametrize(
    ("search", "concurrency", "live"),
    [
        ("random", None, 20),
        ("random", 4, 20),
        ("random", 2, 2),
        ("tpe", None, 5),
        ("tpe", 4, 5),
        ("tpe", 2, 2),
    ],
)
def test_trials_wait_in_line_only_where_that_keeps_processes_busy(
    search: str, concurrency: int | None, live: int
) -> None:
    config = SearchConfig(search=search, concurrency=concurrency, samples=20, max_epochs=3)
    assert (
        len(ask(searched_trials(config, USUAL, spaces_of(config), NOWHERE, [], set(), slots=4)))
        == live
    )


def test_no_more_worker_groups_are_driven_than_fit() -> None:
    config = SearchConfig(workers_per_trial=2, samples=20, max_epochs=3)
    assert (
        len(ask(searched_trials(config, USUAL, spaces_of(config), NOWHERE, [], set(), slots=4)))
        == 4
    )


def test_a_resumed_tpe_search_knows_its_finished_trials_and_does_not_repeat_its_draws() -> None:
    config = SearchConfig(search="tpe", startup_trials=3, samples=40, max_epochs=3)
    fresh = ask(searched_trials(config, USUAL, spaces_of(config), NOWHERE, [], set(), slots=20))
    earlier = [row(number, "max_epochs") for number in range(3)] + [
        row(3, "diverged", best_validation_loss=None)
    ]
    resumed = ask(
        searched_trials(config, USUAL, spaces_of(config), NOWHERE, earlier, set(), slots=20)
    )
    assert resumed[0]["number"] == 4
    assert not {c["learning_rate"] for c in resumed} & {c["learning_rate"] for c in fresh}


def test_until_tpe_has_learnt_trials_are_those_of_random_search() -> None:
    config = SearchConfig(search="tpe", samples=40, max_epochs=3)
    random = replace(config, search="random")
    asked = [
        ask(searched_trials(one, USUAL, spaces_of(one), NOWHERE, [], set(), slots=20))
        for one in (config, random)
    ]
    assert asked[0] == asked[1][:21]


def test_a_resumed_trial_keeps_its_loss() -> None:
    configs = ask(
        searched_trials(
            BOTH,
            USUAL,
            spaces_of(BOTH),
            NOWHERE,
            [row(0, "interrupted", loss="perceptual")],
            set(),
            slots=4,
        )
    )
    assert [c["loss"] for c in configs[:4]] == ["perceptual", "perceptual", "mse", "perceptual"]


def test_a_resumed_tpe_search_of_two_losses_knows_which_was_more_accurate() -> None:
    config = replace(BOTH, search="tpe", samples=60)
    shares = {"perceptual": 0.9, "mse": 0.1}
    earlier = [
        row(
            n,
            "max_epochs",
            loss=loss,
            best_validation_accuracy=shares[loss],
            best_validation_cosine=0.9,
        )
        for n in range(40)
        for loss in [("mse", "perceptual")[n % 2]]
    ]
    configs = ask(
        searched_trials(config, USUAL, spaces_of(config), NOWHERE, earlier, set(), slots=20)
    )
    assert sum(c["loss"] == "perceptual" for c in configs) > len(configs) * 0.7


def test_each_finalist_is_repeated_with_seeds_of_its_own_behind_the_searched_trials() -> None:
    config = replace(CONFIG, samples=5, confirm_seeds=2)
    best, second = row(3, "max_epochs"), row(1, "asha")
    given = ask(repeats(config, spaces_of(config), NOWHERE, [best, second], [best, second]))
    assert [(c["number"], c["repeat_of"]) for c in given] == [(5, 3), (6, 3), (7, 1), (8, 1)]
    drawn = {name: best[name] for name in ("model", "learning_rate", "dropout", "patience", "loss")}
    drawn["parameters"] = {}
    assert [c["seed"] for c in given[:2]] == [
        spaces_of(config)["fc"].seed(0, drawn, n) for n in (1, 2)
    ]
    assert {name: given[0][name] for name in drawn} == drawn
    assert given[0]["checkpoints"] == []


def test_repeats_that_an_earlier_session_finished_are_not_trained_again(tmp_path: Path) -> None:
    config = replace(CONFIG, storage=str(tmp_path), samples=5, confirm_seeds=3)
    best = row(3, "max_epochs")
    earlier = [best, repeat(5, "max_epochs", best, 1), repeat(6, "interrupted", best, 2)]
    given = ask(repeats(config, spaces_of(config), NOWHERE, [best], earlier))
    assert [(c["number"], c["known_epochs"]) for c in given] == [(6, 4), (7, 0)]
    ended = [repeat(5 + count, "max_epochs", best, 1 + count) for count in range(3)]
    assert repeats(config, spaces_of(config), NOWHERE, [best], [best, *ended]).finished


def test_more_trials_take_numbers_that_no_repeat_has() -> None:
    config = replace(CONFIG, samples=5, confirm_seeds=2)
    spaces = spaces_of(config)
    ended = [row(number, "max_epochs") for number in range(3)]
    best = ended[0]
    ended += [repeat(3, "max_epochs", best, 1), repeat(4, "max_epochs", best, 2)]
    more = ask(searched_trials(config, USUAL, spaces, NOWHERE, ended, set(), slots=4))
    assert [one["number"] for one in more] == [5, 6]
    drawn = [spaces["fc"].draw(0, number)["learning_rate"] for number in (5, 6)]
    assert [one["learning_rate"] for one in more] == drawn
    # The best of all is trained again behind them, the best of the first trials is not
    ended += [row(number, "max_epochs") for number in (5, 6)]
    again = ask(repeats(config, spaces, NOWHERE, [ended[-1], best], ended))
    assert [(one["number"], one["repeat_of"]) for one in again] == [(7, 6), (8, 6)]


def test_a_repeat_that_began_before_the_one_before_it_is_known_by_its_seed() -> None:
    config = replace(CONFIG, samples=5, confirm_seeds=2)
    best = row(3, "max_epochs")
    known = [best, repeat(6, "max_epochs", best, 2)]
    (given,) = ask(repeats(config, spaces_of(config), NOWHERE, [best], known))
    assert given["number"] == 5
    assert given["seed"] == repeat(5, "max_epochs", best, 1)["seed"]


def test_tpe_knows_of_earlier_trials_how_they_ended() -> None:
    config = SearchConfig(search="tpe", samples=9, max_epochs=9, scheduler="median")
    reasons = ["max_epochs", "median", None, "diverged", "error"]
    earlier = [row(number, reason) for number, reason in enumerate(reasons)]
    searcher = searched_trials(config, USUAL, spaces_of(config), NOWHERE, earlier, {2}, slots=4)
    assert searcher._tpe is not None
    trials = searcher._tpe["fc"]._study.trials
    found = [(trial.state.name, trial.value, trial.intermediate_values) for trial in trials]
    reached = [pytest.approx(0.1 * (number + 1)) for number in range(3)]
    assert found == [
        ("COMPLETE", reached[0], {}),
        ("PRUNED", None, {4: reached[1]}),
        ("PRUNED", None, {4: reached[2]}),
        ("PRUNED", None, {}),
    ]
