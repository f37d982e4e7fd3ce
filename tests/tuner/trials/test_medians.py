"""The median stopping rule, alive and rebuilt."""

import math
import random
from typing import Any

import numpy as np
import pytest

from tests.tuner.trials.test_scheduler import BOTH, CONFIG, CONTINUE, STOP, curve, trial
from trainables.goal import USUAL
from tuner.trials.reporter import OBJECTIVE
from tuner.trials.scheduler import Medians

MODELS = dict.fromkeys(range(30), "fc")


def medians(grace_epochs: int = 1, mixed_losses: bool = False) -> Medians:
    return Medians(USUAL, max_epochs=9, grace_epochs=grace_epochs, mixed_losses=mixed_losses)


def row(number: int, epoch: int, loss: float, **more: Any) -> dict[str, Any]:
    return {
        "trial": number,
        "epoch": epoch,
        "train_loss": 0.1,
        "validation_loss": loss,
        "validation_accuracy": 0.5,
        "validation_cosine": 0.9,
        **more,
    }


def decisions(rule: Medians, curves: dict[int, list[float]], model: str = "fc") -> list[list[str]]:
    """Report whole curves, one trial after the other; what is said after each epoch."""
    said = []
    for number, losses in curves.items():
        best = np.minimum.accumulate(losses)
        said.append(
            [
                rule.on_trial_result(
                    None, trial(number, model), {**row(number, epoch, loss), OBJECTIVE: reached}
                )
                for epoch, (loss, reached) in enumerate(zip(losses, best, strict=True), start=1)
            ]
        )
    return said


def test_a_trial_whose_best_is_worse_than_the_median_of_the_others_averages_is_stopped() -> None:
    rule = medians()
    # Averages after the second epoch: 0.3, 0.4 and 0.5
    known = {0: [0.4, 0.2], 1: [0.5, 0.3], 2: [0.6, 0.4]}
    assert decisions(rule, known) == [[CONTINUE, CONTINUE]] * 3
    assert decisions(rule, {3: [0.5, 0.41]}) == [[CONTINUE, STOP]]


def test_as_good_as_the_median_is_good_enough_and_the_best_counts_not_the_last() -> None:
    rule = medians()
    decisions(rule, {0: [0.25, 0.25], 1: [0.5, 0.5], 2: [0.75, 0.75]})
    assert decisions(rule, {3: [0.5, 0.9]}) == [[CONTINUE, CONTINUE]]


def test_two_others_are_too_few() -> None:
    assert decisions(medians(), {0: [0.1], 1: [0.1], 2: [0.9]})[2] == [CONTINUE]


def test_no_trial_is_stopped_before_its_grace_is_over() -> None:
    rule = medians(grace_epochs=3)
    decisions(rule, {0: [0.1] * 3, 1: [0.1] * 3, 2: [0.1] * 3})
    assert decisions(rule, {3: [0.9] * 3}) == [[CONTINUE, CONTINUE, STOP]]


def test_those_of_another_network_do_not_count() -> None:
    rule = medians()
    decisions(rule, {0: [0.1], 1: [0.1], 2: [0.1]}, "cnn")
    assert decisions(rule, {3: [0.9]}, "fc") == [[CONTINUE]]
    assert decisions(rule, {4: [0.9]}, "cnn") == [[STOP]]


def test_a_trial_that_diverged_is_compared_with_none() -> None:
    rule = medians()
    for number in range(3):
        result = {"epoch": 1, OBJECTIVE: math.nan, "error": None, "stop_reason": "diverged"}
        assert rule.on_trial_result(None, trial(number), result) == CONTINUE
    assert decisions(rule, {3: [0.9]}) == [[CONTINUE]]


def test_with_two_losses_trials_compare_by_cosine_accuracy() -> None:
    rule, said = medians(mixed_losses=BOTH.mixed_losses), []
    for number, accuracy in enumerate([0.6, 0.7, 0.8, 0.5]):
        reached = {**row(number, 1, 0.1 * number), "validation_accuracy": accuracy}
        reached[OBJECTIVE] = -accuracy
        said.append(rule.on_trial_result(None, trial(number), reached))
    assert said == [CONTINUE, CONTINUE, CONTINUE, STOP]


@pytest.mark.parametrize("luck", range(3))
@pytest.mark.parametrize("cut", [0, 1, 10, 40])
def test_rebuilt_from_the_rows_it_decides_as_it_would_have(luck: int, cut: int) -> None:
    """Thirty trials, six at a time, of which every seventh diverges."""
    chance, whole = random.Random(luck), medians()
    rows: list[dict[str, Any]] = []
    heard: list[dict[str, Any]] = []
    said: list[str] = []
    epochs: dict[int, int] = dict.fromkeys(range(30), 0)
    stopped: set[int] = set()
    while live := [n for n in epochs if n not in stopped and epochs[n] < len(curve(n))][:6]:
        number = chance.choice(live)
        epochs[number] += 1
        losses = curve(number)[: epochs[number]]
        rows.append(row(number, epochs[number], losses[-1]))
        reached = math.nan if math.isnan(losses[-1]) else min(losses)
        heard.append({**rows[-1], OBJECTIVE: reached})
        said.append(whole.on_trial_result(None, trial(number), heard[-1]))
        if said[-1] == STOP and epochs[number] < (CONFIG.max_epochs or 0):
            stopped.add(number)
    rebuilt = medians()
    known = rebuilt.replay(rows[:cut], MODELS)
    so_far = zip(rows[:cut], said, strict=False)
    assert known == stopped & {one["trial"] for one, what in so_far if what == STOP}
    again = [rebuilt.on_trial_result(None, trial(one["trial"]), one) for one in heard[cut:]]
    assert again == said[cut:]
    assert 5 < len(stopped) < 25
    assert medians().replay(rows, MODELS) == stopped
