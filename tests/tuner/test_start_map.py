"""Trials that start at the pipeline's map, through the whole command."""

from pathlib import Path

import pytest

from analysis.tables.files import rows_of
from tests.tuner.conftest import Command
from tests.tuner.simulated_tune import simulated
from trainables.networks.weights import load_network

OWN = """
import torch
from torch import nn
from trainables.hyperparameters import Parameter

class Turned(nn.Module):
    space = {"start": Parameter("map"), "learning_rate": Parameter(1e-12)}

    def __init__(self, task, start):
        super().__init__()
        self.rows = nn.Parameter(torch.zeros(task.output_shape[1], task.input_shape[1]))
        self.columns = nn.Parameter(torch.zeros(task.input_shape[2], task.output_shape[2]))
        self.colour = nn.Parameter(torch.zeros(1, 3))

    def forward(self, images):
        grey = torch.einsum("ck,nkhw->nchw", self.colour, images)
        return self.rows @ grey @ self.columns

    @torch.no_grad()
    def start_at(self, affine):
        (term,) = affine.terms
        self.rows.copy_(term.rows)
        self.columns.copy_(term.columns)
        self.colour.copy_(term.channels)

class Keeping(Turned):
    space = {"start": Parameter("map"), "learning_rate": Parameter(0.1)}

    def start_at(self, affine):
        (term,) = affine.terms
        with open(__file__ + ".seen", "a") as seen:
            print(term.rows.tolist(), file=seen)
        self.rows = nn.Parameter(term.rows)
        self.columns = nn.Parameter(term.columns)
        self.colour = nn.Parameter(term.channels)

class Forgetful(Turned):
    def start_at(self, affine):
        self.rows.copy_(affine.rows)
"""
BUDGET = ("--samples", "2", "--max-epochs", "2", "--finalists", "1")
STUDY_MAP = "start=map is the pipeline's own map, one Kronecker product"


@pytest.fixture
def own(tmp_path: Path) -> Path:
    path = tmp_path / "own.py"
    path.write_text(OWN)
    return path


def test_each_trial_starts_at_the_map_of_the_pipeline_and_goes_on_from_there(
    command: Command, few_images: tuple[str, ...]
) -> None:
    asked = ("--name", "run", "--model", "kron", "--set", "start=map", *BUDGET, *few_images)
    with simulated():
        status, output = command.call(*asked, "--learning-rate", "1e-12", "1e-12")
    assert status == 0, output
    assert output.count(f"{STUDY_MAP}\n") == 1
    assert "finding the map" not in output  # no progress line of a search stays
    trials = rows_of(Path(command.storage) / "tables", "trials", "run")
    assert [trial["best_validation_loss"] < 1e-10 for trial in trials] == [True, True]
    load_network(Path(command.storage) / "networks" / "run=run" / "best.safetensors")


@pytest.mark.parametrize(
    "asked", [("--model", "kron", "--set", "start=resize"), ("--model", "separable")]
)
def test_no_map_is_looked_for_where_no_trial_may_start_there(
    asked: tuple[str, ...],
    command: Command,
    few_images: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tuner.search_run.start_map", None)
    with simulated():
        status, output = command.call(*asked, *BUDGET, *few_images)
    assert status == 0, output
    assert "start=map" not in output


def test_a_network_of_ones_own_starts_at_the_map_too(
    command: Command, few_images: tuple[str, ...], own: Path
) -> None:
    with simulated():
        status, output = command.call(
            "--name", "run", "--model", f"{own}:Turned", *BUDGET, *few_images
        )
    assert status == 0, output
    assert STUDY_MAP in output
    (first, _) = rows_of(Path(command.storage) / "tables", "trials", "run")
    assert first["best_validation_loss"] < 1e-10


def test_a_network_that_can_not_start_there_is_refused_in_one_sentence(
    command: Command, few_images: tuple[str, ...], own: Path
) -> None:
    command.tries_out = True
    with simulated():
        status, output = command.call("--model", f"{own}:Forgetful", *BUDGET, *few_images)
    assert status == 2
    assert "Forgetful can't be trained" in output
    assert "'AffineMap' object has no attribute 'rows'" in output


def test_a_network_that_keeps_the_map_as_its_parameters_trains_numbers_of_its_own(
    command: Command, few_images: tuple[str, ...], own: Path
) -> None:
    with simulated():
        status, output = command.call("--model", f"{own}:Keeping", *BUDGET, *few_images)
    assert status == 0, output
    first, second = own.with_name("own.py.seen").read_text().splitlines()
    assert first == second
