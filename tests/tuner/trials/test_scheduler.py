"""ASHA's rungs, alive and rebuilt."""

import math
import random
from dataclasses import asdict, replace
from types import SimpleNamespace
from typing import Any

import pytest
from ray.tune.schedulers import ASHAScheduler

from trainables.goal import USUAL
from trainables.training.loop import EpochRecord
from tuner.settings import SearchConfig
from tuner.trials.reporter import OBJECTIVE, reached
from tuner.trials.scheduler import Rungs

CONFIG = SearchConfig(name="r", samples=30, max_epochs=9, grace_epochs=1, reduction_factor=3.0)
BOTH = replace(CONFIG, loss="mse,perceptual")
STOP, CONTINUE = "STOP", "CONTINUE"
MODELS = dict.fromkeys(range(30), "fc")


def rungs_for(config: SearchConfig) -> Rungs:
    return Rungs(
        USUAL,
        max_epochs=config.max_epochs or 1,
        grace_epochs=config.grace_epochs,
        reduction_factor=config.reduction_factor,
        mixed_losses=config.mixed_losses,
    )


def trial(number: int, model: str = "fc") -> Any:
    return SimpleNamespace(config={"number": number, "model": model}, trial_id=f"id-{number}")


def curve(number: int) -> list[float]:
    """A loss for each epoch; every seventh trial diverges in its third epoch."""
    luck = random.Random(number)
    start = luck.random()
    losses = [start / epoch + 0.1 * luck.random() for epoch in range(1, 10)]
    return [*losses[:2], math.nan] if number % 7 == 6 else losses


def record(number: int, epoch: int) -> EpochRecord:
    """What a trial reports; its accuracy has little to do with its loss, and may be another's."""
    loss, luck = curve(number)[epoch - 1], random.Random(100 * number + epoch)
    return EpochRecord(
        epoch=epoch,
        train_loss=0.1,
        validation_loss=loss,
        validation_accuracy=luck.choice([0.5, 0.6, 0.7]),
        validation_cosine=luck.uniform(0.9, 1.0),
        train_sec=1.0,
        validation_sec=1.0,
        images_per_sec=1.0,
        stop_reason="diverged" if math.isnan(loss) else "",
    )


class Alive:
    """Trials that report to a scheduler, one epoch of one of them at a time."""

    several = False

    def __init__(self, scheduler: Any, known: list[dict[str, Any]], stopped: set[int]) -> None:
        self.scheduler = scheduler
        self.rows = list(known)
        self.stopped = set(stopped)
        self.decisions: list[str] = []
        self.started: set[int] = set()

    def report(self, number: int) -> None:
        if number not in self.started:
            self.started.add(number)
            self.scheduler.on_trial_add(None, trial(number))
        epochs = len([row for row in self.rows if row["trial"] == number]) + 1
        history = [record(number, epoch) for epoch in range(1, epochs + 1)]
        self.rows.append({"trial": number, **asdict(history[-1])})
        result = {"epoch": epochs, OBJECTIVE: reached(history, USUAL, mixed_losses=self.several)}
        decision = self.scheduler.on_trial_result(None, trial(number), result)
        self.decisions.append(decision)
        if decision == STOP and epochs < 9:
            self.stopped.add(number)
        if decision == STOP or epochs == len(curve(number)):
            self.scheduler.on_trial_complete(None, trial(number), result)

    def unfinished(self) -> list[int]:
        epochs = {n: sum(row["trial"] == n for row in self.rows) for n in range(30)}
        return [n for n in range(30) if n not in self.stopped and epochs[n] < len(curve(n))]

    def run(self, luck: int, reports: int = 10_000) -> None:
        chance = random.Random(luck)
        for _ in range(reports):
            if not (numbers := self.unfinished()[:6]):
                return
            self.report(chance.choice(numbers))


class AliveByCosine(Alive):
    """The same, whose losses do not compare."""

    several = True


def alive(
    config: SearchConfig, scheduler: Any, known: list[dict[str, Any]], stopped: set[int]
) -> Alive:
    return (AliveByCosine if config == BOTH else Alive)(scheduler, known, stopped)


def rungs_of(scheduler: Any) -> Any:
    ours = isinstance(scheduler, Rungs)
    bracket = scheduler._rungs["fc"] if ours else scheduler._brackets[0]
    return [(milestone, dict(recorded)) for milestone, recorded in bracket._rungs]


CONFIGS = pytest.mark.parametrize("config", [CONFIG, BOTH], ids=["one loss", "two losses"])


@pytest.fixture(params=range(3))
def finished(request: pytest.FixtureRequest, config: SearchConfig) -> Alive:
    whole = alive(config, rungs_for(config), [], set())
    whole.run(request.param)
    return whole


@CONFIGS
def test_decisions_are_those_of_rays_own_asha(finished: Alive, config: SearchConfig) -> None:
    asha = ASHAScheduler("epoch", OBJECTIVE, "min", max_t=9, grace_period=1, reduction_factor=3.0)
    best: dict[int, Any] = {}
    decisions = []
    for row in finished.rows:
        number = row["trial"]
        if number not in best:
            asha.on_trial_add(None, trial(number))
        if math.isnan(row["validation_loss"]):
            decisions.append(CONTINUE)
            continue
        best[number] = min(best.get(number, row), row, key=lambda one: one["validation_loss"])
        value = best[number]["validation_loss"]
        if config == BOTH:
            value = -(
                best[number]["validation_accuracy"] + 1e-7 * best[number]["validation_cosine"]
            )
        result = {"epoch": row["epoch"], OBJECTIVE: value}
        decisions.append(asha.on_trial_result(None, trial(number), result))
    assert finished.decisions == decisions
    assert {STOP, CONTINUE} == set(decisions)
    told = [(milestone, list(recorded.values())) for milestone, recorded in rungs_of(asha)]
    assert [
        (milestone, list(recorded.values())) for milestone, recorded in rungs_of(finished.scheduler)
    ] == told


def test_a_trial_worse_than_the_best_third_is_stopped_at_its_rung() -> None:
    rungs = rungs_for(CONFIG)
    decisions = []
    for number, loss in enumerate([0.4, 0.5, 0.3, 0.38, 0.2]):
        rungs.on_trial_add(None, trial(number))
        decisions.append(rungs.on_trial_result(None, trial(number), {"epoch": 1, OBJECTIVE: loss}))
    assert decisions == [CONTINUE, STOP, CONTINUE, STOP, CONTINUE]
    assert rungs.on_trial_result(None, trial(4), {"epoch": 2, OBJECTIVE: 0.9}) == CONTINUE
    assert rungs.on_trial_result(None, trial(4), {"epoch": 9, OBJECTIVE: 0.2}) == STOP


def test_a_trial_is_never_stopped_by_those_of_another_network() -> None:
    rungs, rows = rungs_for(CONFIG), []
    models = {number: ("fc", "cnn")[number % 2] for number in range(6)}
    for number, loss in enumerate([0.1, 0.9, 0.2, 0.8, 0.05, 0.85]):
        row = {"trial": number, "epoch": 1, "train_loss": 0.1, "validation_loss": loss}
        rows.append(row)
        rungs.on_trial_add(None, trial(number, models[number]))
        decision = rungs.on_trial_result(
            None, trial(number, models[number]), {"epoch": 1, OBJECTIVE: loss}
        )
        # By rungs in common the second and the fourth would be stopped, too
        assert decision == (STOP if number in (2, 5) else CONTINUE)
    assert rungs_for(CONFIG).replay(rows, models) == {2, 5}


def test_with_two_losses_a_trial_of_lower_accuracy_than_the_best_third_is_stopped() -> None:
    rungs = rungs_for(BOTH)
    decisions = []
    for number, accuracy in enumerate([0.6, 0.5, 0.7, 0.62, 0.8]):
        rungs.on_trial_add(None, trial(number))
        history = [
            replace(record(number, 1), validation_accuracy=accuracy, validation_loss=accuracy)
        ]
        result = {"epoch": 1, OBJECTIVE: reached(history, USUAL, mixed_losses=True)}
        decisions.append(rungs.on_trial_result(None, trial(number), result))
    assert decisions == [CONTINUE, STOP, CONTINUE, STOP, CONTINUE]


@CONFIGS
def test_rungs_rebuilt_from_the_rows_are_those_that_were_alive(
    finished: Alive, config: SearchConfig
) -> None:
    rebuilt = rungs_for(config)
    assert rebuilt.replay(finished.rows, MODELS) == finished.stopped
    assert rungs_of(rebuilt) == rungs_of(finished.scheduler)
    assert finished.stopped
    assert any(recorded for _, recorded in rungs_of(rebuilt)[:-1])


@CONFIGS
@pytest.mark.parametrize("reports", [1, 10, 40])
def test_a_search_that_was_cut_goes_on_with_the_same_decisions(
    reports: int, config: SearchConfig
) -> None:
    whole = alive(config, rungs_for(config), [], set())
    whole.run(luck=5)
    rungs = rungs_for(config)
    known = whole.rows[:reports]
    resumed = alive(config, rungs, known, rungs.replay(known, MODELS))
    for row in whole.rows[reports:]:
        resumed.report(row["trial"])
    assert resumed.decisions == whole.decisions[reports:]
    assert resumed.stopped == whole.stopped
    assert rungs_of(rungs) == rungs_of(whole.scheduler)


def test_nan_never_enters_a_rung_and_never_stops_a_trial() -> None:
    rungs = rungs_for(CONFIG)
    for number in range(3):
        rungs.on_trial_add(None, trial(number))
        assert (
            rungs.on_trial_result(None, trial(number), {"epoch": 1, OBJECTIVE: math.nan})
            == CONTINUE
        )
    assert not any(recorded for _, recorded in rungs_of(rungs))
    rungs.on_trial_error(None, trial(0))
    rungs.on_trial_complete(None, trial(1), {"epoch": 1, OBJECTIVE: math.nan})
    rungs.on_trial_remove(None, trial(2))


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_row_that_diverged_stays_out_of_rebuilt_rungs(loss: float) -> None:
    rungs = rungs_for(CONFIG)
    rows = [
        {"trial": 0, "epoch": epoch, "train_loss": 0.1, "validation_loss": loss} for epoch in (1, 3)
    ]
    assert rungs.replay(rows, MODELS) == set()
    assert not any(recorded for _, recorded in rungs_of(rungs))


def test_a_row_whose_training_loss_diverged_stays_out_of_rebuilt_rungs() -> None:
    rungs = rungs_for(CONFIG)
    row = {"trial": 0, "epoch": 1, "train_loss": math.inf, "validation_loss": 0.5}
    rungs.replay([row], MODELS)
    assert not any(recorded for _, recorded in rungs_of(rungs))
