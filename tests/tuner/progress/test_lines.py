"""What a search prints before its first trial."""

import pytest
import torch

from trainables.hyperparameters import Parameter
from trainables.kronecker import Factors
from trainables.linear import AffineMap
from trainables.start_map import StartMap
from trainables.tasks import Task
from tuner.progress.lines import (
    early_stopping_line,
    pipeline_line,
    search_line,
    start_line,
    start_lines,
)
from tuner.settings import SearchConfig
from tuner.trials.space import Space


@pytest.mark.parametrize(
    ("residual", "told"),
    [
        (None, "from 0 to 1"),
        (2e-7, "from 0 to 1; affine within 2e-07 of its range"),
        (0.39, "from 0 to 1; 0.4 of its range from affine"),
    ],
)
def test_a_pipeline_is_called_affine_only_where_it_is(residual: float | None, told: str) -> None:
    line = pipeline_line(Task(pipeline="median", takes="array", affine_residual=residual))
    assert line.startswith("median takes an array (H, W, 3) of bytes, many at a time and makes 1")
    assert line.endswith(told)


@pytest.mark.parametrize(
    ("terms", "is_own", "is_sum", "told"),
    [
        (1, False, True, "the best affine map, one Kronecker product"),
        (
            2,
            True,
            True,
            "the pipeline's own map, the sum of 2 Kronecker products: a trial begins with the "
            "largest, as many as its network has terms",
        ),
        (
            32,
            True,
            False,
            "the pipeline's own map, nearly the sum of 32 Kronecker products (randomised SVD): a "
            "trial begins with the largest, as many as its network has terms",
        ),
    ],
)
def test_what_trials_start_at_is_told_with_what_is_left_out(
    terms: int, is_own: bool, is_sum: bool, told: str
) -> None:
    term = Factors(*(torch.ones(1, 1) for _ in range(3)))
    products = AffineMap(offset=torch.zeros(1, 1, 1), terms=(term,) * terms)
    full = products if is_sum else AffineMap(offset=products.offset, dense=torch.ones(1, 1))
    assert start_line(StartMap(products, full, is_own)) == f"start=map is {told}"


FALLS = "without effect, since a learning rate that falls, as with"


@pytest.mark.parametrize(
    ("asked", "schedules", "told"),
    [
        ({}, ["one-cycle"], ""),
        ({"ranges": {"patience": (2, 5)}}, ["constant"], ""),
        ({"ranges": {"patience": (2, 5)}}, ["one-cycle", "constant"], ""),
        ({"ranges": {"patience": (2, 5)}}, ["one-cycle"], f"--patience: {FALLS} one-cycle, has"),
        ({"set": ("patience=3",)}, ["cosine"], f"--patience: {FALLS} cosine, has"),
        (
            {"ranges": {"patience": (2, 5)}, "early_stopping": "window"},
            ["one-cycle", "cosine"],
            f"--patience and --early-stopping: {FALLS} cosine and one-cycle, has",
        ),
    ],
)
def test_early_stopping_that_was_asked_for_and_can_not_happen_is_told(
    asked: dict[str, object], schedules: list[str], told: str
) -> None:
    config = SearchConfig(model="kron", **asked)
    spaces = {name: Space({"schedule": Parameter(name)}) for name in schedules}
    line = early_stopping_line(config, spaces)
    assert line == (told and f"{told} no early stopping; --schedule constant has it")


BETTER = "(better than random on three of five recorded tasks, docs/measured.md)"
RANDOM = "random search: what a trial is does not depend on those before it"


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (
            {"max_epochs": 12, "grace_epochs": 1},
            f"{RANDOM}; ASHA lets the best of every 3 trials go on after 1, 3 and 9 epochs",
        ),
        (
            {"max_epochs": 3},
            f"{RANDOM}; ASHA lets the best of every 3 trials go on after 1 epoch",
        ),
        (
            {"max_epochs": 9, "grace_epochs": 2, "reduction_factor": 2.5},
            f"{RANDOM}; ASHA lets the best of every 2.5 trials go on after 2 and 5 epochs",
        ),
        (
            {"max_epochs": 100, "grace_epochs": 1, "reduction_factor": 1.5},
            f"{RANDOM}; ASHA lets the best of every 1.5 trials go on after 1, 2, 3, 4, 6, 8, … "
            f"epochs",
        ),
        ({"max_epochs": 6, "grace_epochs": 6}, f"{RANDOM}; no trial is stopped early"),
        ({"max_epochs": 6, "scheduler": "none"}, f"{RANDOM}; no trial is stopped early"),
        (
            {"max_epochs": 6, "scheduler": "median", "grace_epochs": 2},
            f"{RANDOM}; the median rule stops a trial from epoch 2 on whose best is worse than the "
            f"median of the others' averages",
        ),
        (
            {"search": "tpe", "scheduler": "none", "samples": 32},
            "TPE (Optuna's, multivariate): at random until 5 trials have ended, then near the "
            f"best so far {BETTER}; no trial is stopped early",
        ),
        (
            {"search": "tpe", "scheduler": "none", "samples": 5000},
            "TPE (Optuna's, multivariate): at random until 5 trials have ended, then near the "
            f"best so far, and learns from the best and newest 500 at most {BETTER}; no trial is "
            "stopped early",
        ),
        (
            {"search": "tpe", "scheduler": "none", "samples": 5},
            "random search: TPE begins when 5 trials have ended; no trial is stopped early",
        ),
    ],
)
def test_how_trials_are_proposed_and_stopped_is_told(
    settings: dict[str, object], told: str
) -> None:
    assert search_line(SearchConfig(**{"search": "random", **settings})) == told


def test_several_networks_have_searchers_and_schedulers_of_their_own() -> None:
    line = search_line(SearchConfig(max_epochs=3, grace_epochs=1), several=True)
    assert "at random until 5 trials of each network have ended" in line
    assert "the best of every 3 trials of each network go on" in line


def test_which_trials_begin_with_what_was_asked_for_is_told() -> None:
    rate = Parameter(1e-4, 1e-2, log=True)
    spaces = {
        "fc": Space({"learning_rate": rate, "dropout": Parameter(0.0, 0.5)}),
        "cnn": Space({"learning_rate": rate}),
    }
    config = SearchConfig(model="auto", samples=4, start=("lr=1e-3", "dropout=0.1"))
    assert start_lines(config, spaces) == [
        "--start lr=1e-3: trial 0 (fc), trial 1 (cnn)",
        "--start dropout=0.1: trial 2 (fc)",
    ]
    alone = SearchConfig(samples=4, start=("lr=1e-3",))
    assert start_lines(alone, {"fc": spaces["fc"]}) == ["--start lr=1e-3: trial 0"]
    assert start_lines(SearchConfig(samples=4), spaces) == []
