"""What a search prints before its first trial."""

import pytest
import torch

from trainables.hyperparameters import Parameter
from trainables.kronecker import Factors
from trainables.linear import AffineMap
from trainables.start_map import StartMap
from trainables.tasks import Task
from tuner.progress.lines import early_stopping_line, pipeline_line, start_line
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
