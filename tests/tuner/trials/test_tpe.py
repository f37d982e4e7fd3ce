"""What Optuna's TPE is told of trials, and what it draws from that."""

import math
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from optuna.trial import TrialState

from trainables.hyperparameters import Parameter
from tuner.settings import TPE_MEMORY
from tuner.trials.space import Drawn, Space
from tuner.trials.tpe import Tpe

RATE = Parameter(1e-4, 1e-1, log=True)
SPACE = Space({"learning_rate": RATE, "patience": Parameter(2, 10)})
WORST = 9.0


def loss(drawn: Drawn) -> float:
    """Lowest at a learning rate of 0.03."""
    return abs(math.log(drawn["learning_rate"] / 0.03))


def finished(count: int, reason: str = "max_epochs") -> list[tuple[Drawn, str, int, float]]:
    drawn = (SPACE.draw(0, number) for number in range(count))
    return [(one, reason, 3, loss(one)) for one in drawn]


def tpe(*known: Any, space: Space = SPACE, startup_trials: int = 10) -> Tpe:
    return Tpe(space, 0, known, startup_trials=startup_trials)


def rates(searcher: Tpe, count: int = 20) -> list[float]:
    return [searcher.ask(str(number))["learning_rate"] for number in range(count)]


@pytest.mark.parametrize(
    ("reason", "reached", "state", "value", "pruned_at"),
    [
        ("max_epochs", 0.5, "COMPLETE", 0.5, {}),
        ("early_stopping", 0.5, "COMPLETE", 0.5, {}),
        ("asha", 0.5, "PRUNED", None, {4: 0.5}),
        ("median", 0.5, "PRUNED", None, {4: 0.5}),
        ("diverged", 0.5, "PRUNED", None, {}),
        ("diverged", math.nan, "PRUNED", None, {}),
        ("error", math.nan, "FAIL", None, {}),
        ("out_of_memory", 0.5, "FAIL", None, {}),
    ],
)
def test_a_trial_is_to_optuna_what_it_was_whether_it_ended_now_or_in_an_earlier_session(
    reason: str, reached: float, state: str, value: float | None, pruned_at: dict[int, float]
) -> None:
    alive = tpe()
    drawn = alive.ask("a")
    alive.tell("a", reason, 4, reached)
    (now,) = alive._study.get_trials()
    assert (now.state.name, now.intermediate_values) == (state, pruned_at)
    assert now.state != TrialState.COMPLETE or now.value == value
    earlier = tpe((drawn, reason, 4, reached))._study.get_trials()
    if state == "FAIL":
        assert earlier == []  # says nothing
    else:
        (then,) = earlier
        assert (then.state, then.intermediate_values) == (now.state, pruned_at)
        assert then.params == now.params


def test_it_draws_where_trials_came_to_their_end_with_a_low_loss() -> None:
    searcher = tpe(*finished(40))
    drawn = [loss(searcher.ask(str(number))) for number in range(20)]
    assert np.median(drawn) < np.median([loss(one) for one, *_ in finished(40)]) / 2


def test_trials_that_were_stopped_late_are_better_than_those_that_were_stopped_early() -> None:
    known = [
        (one, "asha", 9 if one["learning_rate"] > 0.01 else 1, 0.5)
        for one in (SPACE.draw(0, number) for number in range(60))
    ]
    assert np.median(rates(tpe(*known))) > 0.01


def test_it_keeps_away_from_where_trials_diverged_although_they_had_been_good() -> None:
    known = [
        (one, "diverged", 9, 0.0) if one["learning_rate"] > 0.01 else (one, "asha", 1, 0.5)
        for one in (SPACE.draw(0, number) for number in range(60))
    ]
    assert np.median(rates(tpe(*known))) < 0.01


def test_it_has_learnt_once_enough_trials_have_ended_that_say_something() -> None:
    searcher = tpe(*finished(2), *finished(3, "error"), startup_trials=4)
    searcher.ask("a")
    searcher.ask("b")
    searcher.tell("a", "asha", 1, 0.5)
    assert not searcher.has_learnt
    searcher.tell("b", "diverged", 1, math.nan)
    assert searcher.has_learnt


def test_what_a_start_names_is_taken_and_the_rest_is_drawn() -> None:
    searcher = tpe(*finished(40))
    drawn = searcher.ask("a", {"learning_rate": 2e-4})
    assert drawn["learning_rate"] == 2e-4
    assert 2 <= drawn["patience"] <= 10
    assert searcher.ask("b")["learning_rate"] != 2e-4


def test_a_trial_that_goes_on_from_an_earlier_session_is_known_and_learnt_from() -> None:
    searcher = tpe()
    drawn = SPACE.draw(0, 5)
    searcher.add("a", drawn)
    (running,) = searcher._study.get_trials()
    assert (running.state.name, running.params["patience"]) == ("RUNNING", drawn["patience"])
    searcher.tell("a", "max_epochs", 3, 0.5)
    assert searcher._study.best_params["learning_rate"] == drawn["learning_rate"]


def test_of_a_long_search_it_keeps_the_best_and_the_newest_and_what_runs() -> None:
    count = TPE_MEMORY + 100
    known = [
        (one, "max_epochs", 3, -1.0 if number < 5 else WORST)
        for number, one in enumerate(SPACE.draw(0, number) for number in range(count))
    ]
    searcher = tpe(*known)
    kept = searcher._study.get_trials()
    assert len(kept) == TPE_MEMORY // 2
    assert [trial.value for trial in kept[:5]] == [-1.0] * 5
    newest = [one["learning_rate"] for one, *_ in known[-200:]]
    assert [trial.params["learning_rate"] for trial in kept[-200:]] == newest
    running = searcher.ask("runs")
    for number in range(TPE_MEMORY):
        searcher.add(str(number), SPACE.draw(1, number))
        searcher.tell(str(number), "asha", 1, WORST)
    trials = searcher._study.get_trials()
    assert len(trials) <= TPE_MEMORY
    assert [trial.value for trial in trials[:5]] == [-1.0] * 5
    searcher.tell("runs", "max_epochs", 3, -2.0)
    assert searcher._study.best_params["learning_rate"] == running["learning_rate"]


def test_optuna_is_imported_only_where_it_draws() -> None:
    code = "import sys, tuner.search_run; print('optuna' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
