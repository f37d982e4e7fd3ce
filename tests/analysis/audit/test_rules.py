"""Each rule decides as the scheduler that it stands for: Ray's own, where Ray has it."""

import math
import random
from types import SimpleNamespace
from typing import Any

import pytest

from analysis.audit.curve import Curve
from analysis.audit.replay import replay
from analysis.audit.rules import Median, Oracle, PromotingAsha, Rule, StoppingAsha, rungs
from tests.analysis.audit.made_curves import curve, lucky_curves
from trainables.goal import USUAL
from tuner.trials.reporter import OBJECTIVE
from tuner.trials.scheduler import Medians, Rungs

STOP = "STOP"


def reports(curves: list[Curve], rule: Rule, at_once: int = 3) -> list[tuple[int, int, bool]]:
    """Trial, epoch and whether it goes on, of each report in turn."""
    order = iter(range(len(curves)))
    return [(one.trial, one.epoch, one.goes_on) for one in replay(curves, order, rule, at_once)]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("grace", [1, 2, 4])
@pytest.mark.parametrize("factor", [2, 3, 4])
def test_asha_decides_as_that_of_the_search(seed: int, grace: int, factor: int) -> None:
    curves = lucky_curves(seed)
    real = Rungs(
        USUAL, max_epochs=12, grace_epochs=grace, reduction_factor=factor, mixed_losses=False
    )
    stops = 0
    for number, epoch, goes_on in reports(curves, StoppingAsha(12, grace, factor)):
        trial: Any = SimpleNamespace(config={"number": number, "model": "fc"})
        if epoch == 1:
            real.on_trial_add(None, trial)
        result = {"epoch": epoch, OBJECTIVE: curves[number].best[epoch - 1]}
        decision = real.on_trial_result(None, trial, result)
        if epoch < len(curves[number].reached):
            assert goes_on == (decision != STOP)
            stops += not goes_on
    assert stops


def test_asha_rounds_a_quantile_as_numpy_does() -> None:
    luck = random.Random(0)
    for factor in (2, 3, 4):
        for _ in range(50):
            values = [luck.choice([0.1, 0.2, 0.3]) for _ in range(luck.randint(1, 12))]
            real = Rungs(
                USUAL, max_epochs=2, grace_epochs=1, reduction_factor=factor, mixed_losses=False
            )
            rule = StoppingAsha(2, 1, factor)
            for number, value in enumerate(values):
                trial: Any = SimpleNamespace(config={"number": number, "model": "fc"})
                real.on_trial_add(None, trial)
                decision = real.on_trial_result(None, trial, {"epoch": 1, OBJECTIVE: value})
                assert rule.goes_on(number, 1, value) == (decision != STOP)


@pytest.mark.parametrize("grace", [1, 2, 4])
def test_the_median_rule_decides_as_that_of_the_search(grace: int) -> None:
    curves = lucky_curves(1)
    real = Medians(USUAL, max_epochs=12, grace_epochs=grace, mixed_losses=False)
    stops = 0
    for number, epoch, goes_on in reports(curves, Median(curves, grace)):
        trial: Any = SimpleNamespace(config={"number": number, "model": "fc"})
        best, reached = curves[number].best[epoch - 1], curves[number].reached[epoch - 1]
        decision = real.on_trial_result(
            None, trial, {"epoch": epoch, OBJECTIVE: best, "validation_loss": reached}
        )
        if epoch < len(curves[number].reached):
            assert goes_on == (decision != STOP)
            stops += not goes_on
    assert stops


def test_rungs_are_before_the_last_epoch() -> None:
    assert rungs(12, 1, 3) == [1, 3, 9]
    assert rungs(9, 1, 3) == [1, 3]
    assert rungs(12, 4, 2) == [4, 8]
    assert rungs(3, 4, 2) == []


def test_promoting_asha_goes_on_with_the_best_half_of_each_rung() -> None:
    curves = [curve(value, value / 2, value / 3, value / 4) for value in (4.0, 2.0, 3.0, 1.0)]
    assert reports(curves, PromotingAsha(4, 1, 2), at_once=1) == [
        (0, 1, False),
        (1, 1, False),
        (1, 2, False),  # better than trial 0
        (2, 1, False),
        (3, 1, False),
        (3, 2, False),  # the two best of four are 3 and 1
        (3, 3, True),  # better than trial 1 after two epochs
        (3, 4, False),
    ]


def test_a_paused_trial_that_has_ended_by_itself_is_passed_over() -> None:
    curves = [curve(1.0), curve(2.0, 1.0), curve(3.0, 2.0), curve(4.0, 3.0)]
    trained = [(trial, epoch) for trial, epoch, _ in reports(curves, PromotingAsha(2, 1, 2), 1)]
    assert trained == [(0, 1), (1, 1), (2, 1), (3, 1), (1, 2)]


def test_a_slot_that_waits_takes_what_another_slot_makes_promotable() -> None:
    curves = [curve(1.0, 0.5), curve(2.0, 1.0, epoch_sec=5.0)]
    trained = [(trial, epoch) for trial, epoch, _ in reports(curves, PromotingAsha(2, 1, 2), 2)]
    assert trained == [(0, 1), (1, 1), (0, 2)]


def test_the_oracle_trains_on_only_what_beats_all_before() -> None:
    curves = [curve(5.0, 3.0), curve(1.0, 1.0), curve(0.5, 2.0), curve(9.0, 0.1)]
    epochs = [(trial, epoch) for trial, epoch, _ in reports(curves, Oracle(curves), at_once=1)]
    assert epochs == [(0, 1), (0, 2), (1, 1), (1, 2), (2, 1), (2, 2), (3, 1), (3, 2)]
    assert [(t, e) for t, e, _ in reports(curves[::-1], Oracle(curves[::-1]), 1)] == [
        *[(0, 1), (0, 2)],
        *[(1, 1), (2, 1), (3, 1)],
    ]


@pytest.mark.parametrize(
    "rule", [StoppingAsha(3, 1, 2), PromotingAsha(3, 1, 2), Median([curve(9.0)] * 5, 1)]
)
def test_a_trial_that_diverged_stops_no_other(rule: Rule) -> None:
    for number in range(4):
        assert rule.goes_on(number, 1, math.nan)
    assert rule.resumed() is None
    assert rule.goes_on(4, 1, 9.0) == (not isinstance(rule, PromotingAsha))


def test_a_slower_trial_reports_later() -> None:
    curves = [curve(1.0, 1.0, epoch_sec=3.0), curve(1.0, 1.0), curve(1.0, 1.0)]
    assert [(trial, epoch) for trial, epoch, _ in reports(curves, Rule(), at_once=2)] == [
        (1, 1),
        (1, 2),
        (0, 1),
        (2, 1),
        (2, 2),
        (0, 2),
    ]
