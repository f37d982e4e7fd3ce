"""Searches replayed on recorded curves: what is recorded, what is proposed, what is counted."""

import math
from pathlib import Path

import numpy as np
import pytest

from analysis.audit.curve import Curve
from analysis.audit.findings import Scheduler
from benchmarks.equal_budget import (
    Proposals,
    Searcher,
    distance,
    interquartile_mean,
    interval,
    search,
    trials_of,
    unit,
)
from benchmarks.recorded_curves import Curves, Recording, read, record
from tests.tuner.few_images import write_few_images
from trainables.hyperparameters import Parameter

RECORDING = Recording(
    model="separable", pipeline="study", images=100, side=32, max_epochs=2, batch_size=50
)
SPACE = {
    "learning_rate": Parameter(1e-4, 1e-2, log=True),
    "patience": Parameter(2, 10),
    "activation": Parameter(choices=("GELU", "Tanh")),
}
NONE = Scheduler("none")
SEARCHERS = [Searcher(), Searcher(False, 2), Searcher(True, 2)]


def made_up(trials: int = 24, epochs: int = 6) -> Curves:
    """The nearer its rate is to 1e-3 the lower a trial's loss, from its first epoch on."""
    luck = np.random.default_rng(0)
    chosen = [
        {
            "learning_rate": 10 ** luck.uniform(-4, -2),
            "patience": int(luck.integers(2, 11)),
            "activation": ("GELU", "Tanh")[number % 2],
        }
        for number in range(trials)
    ]
    ends = [1 + abs(math.log10(one["learning_rate"]) + 3) for one in chosen]
    losses = [[end * (1 + 1 / epoch) for epoch in range(1, epochs + 1)] for end in ends]
    return Curves("made up", epochs, SPACE, chosen, losses, [1.0] * trials)


def test_a_recording_that_was_cut_goes_on_where_it_was(tmp_path: Path) -> None:
    data = str(write_few_images(tmp_path / "images"))
    assert len(list(record(RECORDING, data, tmp_path, count=2))) == 2
    before = read(tmp_path / "separable-study.parquet")
    assert [line.split(":")[0] for line in record(RECORDING, data, tmp_path, count=3)] == [
        "separable-study 3/3"
    ]
    after = read(tmp_path / "separable-study.parquet")
    assert (after.chosen[:2], after.losses[:2]) == (before.chosen, before.losses)
    assert after.space.keys() == {"learning_rate", "patience"}
    assert after.max_epochs == 2
    assert [len(losses) for losses in after.losses] == [2, 2, 2]
    assert not list(record(RECORDING, data, tmp_path, count=3))


def test_a_trial_ends_when_its_patience_does_unless_none_is_searched() -> None:
    curves = made_up(trials=1)
    curves.losses[0] = [0.5, 0.4, 0.6, 0.5, 0.45, 0.1]
    curves.chosen[0]["patience"] = 2
    assert trials_of(curves)[0].best == [0.5, 0.4, 0.4, 0.4]
    del curves.chosen[0]["patience"]
    assert len(trials_of(curves)[0].best) == 6


@pytest.mark.parametrize("searcher", SEARCHERS, ids=str)
def test_every_configuration_comes_once(searcher: Searcher) -> None:
    curves = made_up(trials=8)
    trials = trials_of(curves)
    proposals = Proposals(curves, trials, searcher, seed=0)
    order = []
    for trial in proposals:
        order.append(trial)
        proposals.tell(trial, epoch=len(trials[trial].reached) - trial % 2)
    assert sorted(order) == list(range(8))


def test_tpe_tries_good_configurations_sooner() -> None:
    curves = made_up(trials=60)
    trials = trials_of(curves)
    found = {
        searcher: np.mean(
            [search(curves, trials, searcher, NONE, seed, [10 * 6]) for seed in range(10)]
        )
        for searcher in (Searcher(), Searcher(True, 5))
    }
    assert found[Searcher(True, 5)] < found[Searcher()]


def test_a_search_is_the_same_each_time_and_another_with_another_seed() -> None:
    curves = made_up()
    trials, asha, searcher = trials_of(curves), Scheduler("asha", 1, 3), Searcher(True, 2)
    one, same, other = (
        search(curves, trials, searcher, asha, seed, [6, 12, 18]) for seed in (0, 0, 1)
    )
    assert one == same != other


def test_what_is_found_is_counted_by_epochs_over_all_trials() -> None:
    curves = Curves("two", 2, {}, [{}, {}], [[4.0, 3.0], [2.0, 1.0]], [1.0, 1.0])
    trials = [Curve(losses, [1.0, 1.0]) for losses in curves.losses]
    first = Proposals(curves, trials, Searcher(), seed=0).__next__()
    best_first = search(curves, trials, Searcher(), NONE, 0, [1, 2, 3, 4, 99])
    # Two at once: an epoch of each in turn
    assert best_first == ([4, 2, 2, 1, 1] if first == 0 else [2, 2, 1, 1, 1])


def test_a_distance_is_on_the_scale_of_the_space() -> None:
    low = unit({"learning_rate": 1e-4, "patience": 2, "activation": "GELU"}, SPACE)
    middle = unit({"learning_rate": 1e-3, "patience": 6, "activation": "Tanh"}, SPACE)
    assert low == [0.0, 0.0, "GELU"]
    assert middle == pytest.approx([0.5, 0.5, "Tanh"])
    assert distance(low, middle) == pytest.approx(0.25 + 0.25 + 1)


def test_the_interquartile_mean_leaves_out_a_quarter_at_each_end() -> None:
    values = np.array([100.0, 1.0, 2.0, 3.0, 4.0, -100.0, 2.0, 3.0])
    assert interquartile_mean(values) == pytest.approx(2.5)
    mean, low, high = interval(values)
    assert mean == pytest.approx(2.5)
    assert low < mean < high
    assert interval(np.full(8, 7.0)) == (7.0, 7.0, 7.0)
