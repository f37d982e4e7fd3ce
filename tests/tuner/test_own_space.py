"""A network with hyperparameters of its own: one file is all that a person writes."""

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
import torch

from analysis.charts import search, views
from analysis.charts.labels import labelled
from analysis.charts.style import specification
from analysis.tables import wide
from analysis.tables.parameters import read_space, shown_space
from tests.tuner.conftest import Command
from tests.tuner.simulated_tune import Trial, simulated
from trainables.hyperparameters import Asked, Parameter
from trainables.networks.registry import find
from trainables.networks.weights import load_network, read_header
from trainables.tasks import STUDY
from trainables.training.network_facts import try_out

NETWORK = """
from torch import nn
from trainables.hyperparameters import Parameter

class Blur(nn.Module):
    space = {
        "width": Parameter(2, 16, log=True),
        "kind": Parameter(choices=("ReLU", "GELU")),
        "depth": Parameter(1),
    }

    def __init__(self, task, width, kind, depth):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, width, 5), getattr(nn, kind)(), *[nn.Identity()] * depth,
            nn.Conv2d(width, 1, 1),
        )

    def forward(self, images):
        return self.layers(images)
"""
MODEL = "own_space:Blur"


@pytest.fixture(autouse=True)
def own_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "own_space.py").write_text(NETWORK)
    monkeypatch.syspath_prepend(tmp_path / "own")
    yield
    sys.modules.pop("own_space", None)


def tables(command: Command, name: str = "run") -> tuple[pd.DataFrame, pd.DataFrame]:
    return command.table("trials", name), command.table("runs", name)


def test_what_a_network_declares_is_searched_kept_drawn_and_loaded_again(
    command: Command, few_images: tuple[str, ...]
) -> None:
    budget = ("--samples", "20", "--max-epochs", "1", "--images", "32", "--finalists", "1")
    asked = ("--set", "weight_decay=1e-4:1e-2:log", "--set", "depth=2", "--patience", "3", "3")
    asked += ("--schedule", "cosine,one-cycle")
    with simulated():
        status, output = command.call(
            "--name", "run", "--model", MODEL, *budget, *asked, *few_images, "--confirm-seeds", "1"
        )
    assert status == 0, output

    trials, runs = tables(command)
    assert read_space(runs.space[0]) == {
        "learning_rate": Parameter(1e-4, 1e-2, log=True),
        "patience": Parameter(3, 3),
        "weight_decay": Parameter(1e-4, 1e-2, log=True),
        "schedule": Parameter(choices=("cosine", "one-cycle")),
        "width": Parameter(2, 16, log=True),
        "kind": Parameter(choices=("ReLU", "GELU")),
        "depth": Parameter(2),
    }
    found = wide(trials)
    assert list(found.columns[5:14]) == [
        *("learning_rate", "dropout", "patience"),
        *("depth", "kind", "schedule", "weight_decay", "width"),
        "seed",
    ]
    assert set(found.kind) == {"ReLU", "GELU"}
    assert set(found.depth) == {2}
    assert found.width.between(2, 16).all()
    assert found.width.nunique() > 5
    assert found.weight_decay.between(1e-4, 1e-2).all()
    assert set(found.schedule) == {"cosine", "one-cycle"}
    (repeat,) = found[found.repeat_of.notna()].to_dict("records")
    (finalist,) = found[found.trial == repeat["repeat_of"]].to_dict("records")
    for name in ("learning_rate", "depth", "kind", "schedule", "weight_decay", "width"):
        assert repeat[name] == finalist[name]
    first = found.iloc[0]
    assert (
        f"trial   0  starts    lr {first.learning_rate:.2e}, patience 3, depth 2, "
        f"kind {first.kind}, schedule {first.schedule}, weight decay {first.weight_decay:.2e}, "
        f"width {first.width}"
    ) in output

    weights = Path(command.storage) / "networks" / "run=run" / "best.safetensors"
    chosen = {name: finalist[name] for name in ("width", "kind", "depth")}
    assert read_header(weights).chosen == chosen
    network = load_network(weights, find(MODEL))
    assert network.layers[0].out_channels == finalist["width"]
    assert type(network.layers[1]).__name__ == finalist["kind"]

    shown = labelled(trials, runs)
    space = shown_space(runs, shown)
    searched = ["learning_rate", "weight_decay", "width", "kind", "schedule"]
    own = ["depth", "kind", "schedule", "weight_decay", "width"]
    assert [*space] == ["learning_rate", "patience", *own]
    shares = views.importances(shown, space)
    assert set(shares.parameter) == set(searched)
    best = views.best_so_far(shown)
    charts = [search.slices(shown, name, space) for name in searched]
    charts += [search.history(shown, best, space), search.importance(shares)]
    for chart in charts:
        assert specification(chart)
    axes = specification(search.parallel(shown, space))
    rows = next(rows for rows in axes["datasets"].values() if "_place" in rows[0])
    assert {row["_axis"] for row in rows} == {
        "Learning rate",
        "Patience",
        "Depth",
        "Kind",
        "Schedule",
        "Weight decay",
        "Width",
        "Validation loss",
    }


def test_a_search_that_goes_on_has_the_trials_that_it_would_have_had(
    command: Command, tmp_path: Path, few_images: tuple[str, ...]
) -> None:
    budget = ("--samples", "5", "--max-epochs", "2", "--images", "32", "--finalists", "1")
    killed = tmp_path / "killed"

    def copy(what: str, trial: Trial) -> None:
        if what == "reported" and trial.config["number"] == 3 and not killed.exists():
            shutil.copytree(command.storage, killed)

    with simulated() as ray:
        ray.moment = copy
        model = ("--model", MODEL, "--set", "depth=2")
        status, output = command.call("--name", "run", *model, *budget, *few_images)
    assert status == 0, output
    resumed = Command(killed)
    with simulated():
        status, output = resumed.call("--resume", "run")
    assert status == 0, output
    same = ["trial", "learning_rate", "depth", "kind", "width", "seed", "best_validation_loss"]
    whole, again = (
        wide(tables(one)[0])[same].sort_values("trial", ignore_index=True)
        for one in (command, resumed)
    )
    pd.testing.assert_frame_equal(whole, again)


def test_a_network_that_was_changed_does_not_go_on(
    command: Command, tmp_path: Path, few_images: tuple[str, ...]
) -> None:
    budget = ("--samples", "1", "--max-epochs", "1", "--images", "32")
    with simulated():
        status, output = command.call("--name", "run", "--model", MODEL, *budget, *few_images)
        assert status == 0, output
        sys.modules.pop("own_space")
        changed = NETWORK.replace("Parameter(2, 16, log=True)", "Parameter(2, 1600, log=True)")
        (tmp_path / "own" / "own_space.py").write_text(changed)
        status, output = command.call("--resume", "run")
    assert status == 2
    assert (
        f"--resume run: {MODEL}'s width was 2 to 16 (log) when the run began, and is "
        f"2 to 1600 (log) now: bring the network back as it was"
    ) in output


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("kind=1:2", "kind: low and high are numbers, but got '1' and '2'"),
        (
            "colour=3",
            f"{MODEL} has no hyperparameter 'colour'; it has learning_rate, patience, "
            f"weight_decay, schedule, width, kind, depth",
        ),
        ("width=2.5:8", "width is a whole number"),
    ],
)
def test_what_the_network_refuses_ends_the_command_with_one_sentence(
    command: Command, few_images: tuple[str, ...], setting: str, told: str
) -> None:
    with simulated():
        status, output = command.call("--model", MODEL, "--set", setting, *few_images)
    assert status == 2, output
    (line,) = output.splitlines()
    assert line.endswith(told)


def test_a_choice_that_the_constructor_refuses_is_found_when_it_is_tried_out() -> None:
    asked = Asked({}, ("kind=ReLU,Sigmoyd",))
    facts = try_out(MODEL, STUDY, "float32", torch.device("cpu"), asked)
    assert facts.problem == (
        f"--model {MODEL} can't be trained with width 16, kind Sigmoyd: AttributeError: "
        f"module 'torch.nn' has no attribute 'Sigmoyd' (own_space.py, line 15)"
    )
    assert try_out(MODEL, STUDY, "float32", torch.device("cpu"), Asked()).problem == ""


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("channels=0", "--model cnn with channels 0: channels ≥ 1 must hold, but got 0"),
        ("depth=0:3", "--model cnn with depth 0: depth ≥ 1 must hold, but got 0"),
    ],
)
def test_what_a_network_of_this_project_refuses_is_told_too(
    command: Command, few_images: tuple[str, ...], setting: str, told: str
) -> None:
    command.tries_out = True
    with simulated():
        status, output = command.call("--model", "cnn", "--set", setting, *few_images)
    assert status == 2, output
    assert told in output


def test_fc_is_searched_over_its_width_and_a_default_run_names_nothing_more(
    command: Command, few_images: tuple[str, ...]
) -> None:
    budget = ("--samples", "2", "--max-epochs", "1", "--images", "32", "--finalists", "1")
    with simulated():
        for name, more in (("run", ("--set", "hidden=8,16")), ("plain", ())):
            status, output = command.call(
                "--name", name, "--model", "fc", *budget, *more, *few_images
            )
            assert status == 0, output
    trials, runs = tables(command)
    assert [json.loads(text) for text in trials.parameters] == [
        {"hidden": width} for width in wide(trials).hidden
    ]
    plain, plain_runs = tables(command, "plain")
    assert plain.parameters.isna().all()
    assert list(wide(plain).columns) == [name for name in plain.columns if name != "parameters"]
    assert trials.learning_rate.tolist() == plain.learning_rate.tolist()
    both = pd.concat([trials, plain], ignore_index=True)
    held = wide(both, pd.concat([runs, plain_runs], ignore_index=True))
    assert held.hidden[held.run.astype(str) == "plain"].tolist() == [128, 128]
    assert wide(both).hidden.isna().sum() == 2
    weights = Path(command.storage) / "networks" / "run=plain" / "best.safetensors"
    saved = read_header(weights)
    best = plain.set_index("trial").loc[saved.facts["trial"]]
    assert saved.chosen == {"dropout": best.dropout, "hidden": 128}
