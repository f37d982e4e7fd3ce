"""`--model auto`: each network of this project that fits gets its share of one search."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from analysis.charts.labels import labelled
from analysis.charts.search import importance, parallel
from analysis.charts.style import specification
from analysis.charts.views import importances
from analysis.report.facts import asked
from analysis.tables import wide
from analysis.tables.files import publish, rows_of
from analysis.tables.parameters import read_space, read_spaces, shown_space, spaces_text
from analysis.tables.schema import TABLES
from tests.tuner.conftest import Command
from tests.tuner.simulated_tune import Trial, simulated
from trainables.hyperparameters import Asked
from trainables.networks.base import space_of
from trainables.networks.registry import NETWORKS, find, misfit
from trainables.networks.weights import load_network, read_header
from trainables.tasks import STUDY
from tuner.trials.space import Space, network_of

AUTO = ("--name", "run", "--model", "auto")
FIT = [name for name in NETWORKS if not misfit(find(name), STUDY)]
BUDGET = ("--max-epochs", "2", "--images", "32", "--finalists", "1")


def test_each_network_that_fits_gets_as_many_trials_and_the_best_of_each_is_evaluated(
    command: Command, few_images: tuple[str, ...]
) -> None:
    samples = ("--samples", str(2 * len(FIT)), "--confirm-seeds", "1", "--set", "hidden=8,16")
    with simulated():
        status, output = command.call(*AUTO, *samples, *BUDGET, *few_images)
    assert status == 0, output
    trials, runs = command.table("trials", "run"), command.table("runs", "run")
    searched = trials[trials.repeat_of.isna()]
    assert searched.model.value_counts().to_dict() == dict.fromkeys(FIT, 2)
    assert list(searched.sort_values("trial").model) == FIT * 2

    scores = command.table("scores", "run")
    finalists = (
        scores[(scores.kind == "trial") & scores.repeat_of.isna()].trial.astype(int).unique()
    )
    assert set(searched[searched.trial.isin(finalists)].model) == set(FIT)
    repeats = trials[trials.repeat_of.notna()].set_index("repeat_of").model
    assert repeats.to_dict() == searched.set_index("trial").model[finalists].to_dict()
    for number in finalists:
        weights = Path(command.storage) / "networks" / "run=run" / f"trial-{number:04}.safetensors"
        model = searched.set_index("trial").model[number]
        assert read_header(weights).model == model
        assert type(load_network(weights)) is find(model)
        assert f"trial {number} ({model})" in output
    assert output.splitlines()[0].startswith(f"run: {', '.join(FIT)} on ")

    spaces = read_spaces(runs.space[0])
    assert list(spaces) == FIT
    assert spaces["fc"] == Asked({}, ("hidden=8,16",)).of(space_of(find("fc")), "fc")
    every = wide(trials, runs)
    assert every.hidden.notna().tolist() == (every.model == "fc").tolist()
    terms = every.terms[every.model == "kron"]
    assert [str(value) for value in terms] == [str(int(value)) for value in terms]  # not 8.0
    shown = labelled(trials, runs)
    space = shown_space(runs, shown)
    shares = importances(shown, space)
    assert specification(parallel(shown, space))
    assert specification(importance(shares))
    rows = {name: rows_of(Path(command.storage) / "tables", name, "run") for name in TABLES}
    facts = dict(asked(rows["runs"][0], rows["trials"], {}))
    assert facts["Network"] == ", ".join(FIT)


def test_it_goes_on_where_it_was_broken_off(
    command: Command, tmp_path: Path, few_images: tuple[str, ...]
) -> None:
    killed = tmp_path / "killed"

    def copy(what: str, trial: Trial) -> None:
        if what == "reported" and trial.config["number"] == 2 and not killed.exists():
            shutil.copytree(command.storage, killed)

    samples = ("--samples", str(len(FIT) + 1))
    with simulated() as ray:
        ray.moment = copy
        status, output = command.call(*AUTO, *samples, *BUDGET, *few_images)
    assert status == 0, output
    resumed = Command(killed)
    with simulated():
        status, output = resumed.call("--resume", "run")
    assert status == 0, output
    same = ["trial", "model", "learning_rate", "seed", "stop_reason", "best_validation_loss"]
    whole, again = (
        one.table("trials", "run")[same].sort_values("trial", ignore_index=True)
        for one in (command, resumed)
    )
    pd.testing.assert_frame_equal(whole, again)


def test_tpe_draws_each_networks_trials_from_its_own_space(
    command: Command, few_images: tuple[str, ...]
) -> None:
    samples = ("--samples", str(2 * len(FIT)), "--search", "tpe", "--set", "hidden=8,16")
    with simulated():
        status, output = command.call(*AUTO, *samples, *BUDGET, *few_images)
    assert status == 0, output
    trials, runs = command.table("trials", "run"), command.table("runs", "run")
    assert trials.model.value_counts().to_dict() == dict.fromkeys(FIT, 2)
    assert trials.best_validation_loss.notna().all()
    spaces = read_spaces(runs.space[0])
    for row in rows_of(Path(command.storage) / "tables", "trials", "run"):
        space, said = spaces[row["model"]], json.loads(row["parameters"] or "{}")
        rate = space["learning_rate"]
        assert rate.low <= row["learning_rate"] <= rate.high
        assert said.keys() <= space.keys()
        assert row["model"] != "kron" or said["terms"] in space["terms"].choices
        assert ("hidden" in said) == (row["model"] == "fc")


def test_where_other_networks_fit_now_it_does_not_go_on_and_says_which_they_were(
    command: Command, few_images: tuple[str, ...]
) -> None:
    few = ("--samples", str(len(FIT)), "--max-epochs", "1", "--images", "32")
    with simulated():
        status, output = command.call(*AUTO, *few, *few_images)
        assert status == 0, output
        tables = Path(command.storage) / "tables"
        (run,) = rows_of(tables, "runs", "run")
        began = {name: read_spaces(run["space"])[name] for name in FIT[1:2]}
        publish(tables, "runs", "run", [run | {"space": spaces_text(began)}])
        status, output = command.call("--resume", "run")
    assert status == 2, output
    assert output.splitlines()[-1] == (
        f"error: --resume run: --model auto was {FIT[1]} when the run began, and is "
        f"{', '.join(FIT)} now: go on with the version and the machines that began it, or start a "
        f"new run without --resume"
    )


def test_a_network_that_does_not_fit_is_left_out_with_its_reason(
    command: Command, few_images: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / "half.py").write_text("def half(image):\n    return image[:, ::2, ::2]\n")
    own = ("--pipeline", f"{tmp_path}/half.py:half", "--takes", "float")
    with simulated():
        status, output = command.call(*AUTO, *own, *BUDGET, "--samples", "9", *few_images)
    assert status == 0, output
    assert (
        "--model auto leaves cnn out: cnn makes outputs of the input's size, or 4 pixels smaller, "
        "and these are 16 × 16 for 32 × 32\n"
    ) in output
    assert "cnn" not in set(command.table("trials", "run").model)


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        (("--samples", "1"), f"--samples 1: {len(FIT)} networks fit the task ("),
        (
            ("--set", "colour=1:2"),
            "--set colour: no network that is tried has it; leave it out",
        ),
        (
            ("--set", "depth=0:3"),
            "--model auto: cnn with depth 0: depth ≥ 1 must hold, but got 0",
        ),
        (("--set", "hidden=a,b"), "--set hidden=a,b: hidden is a whole number"),
    ],
)
def test_what_no_network_can_do_is_told_in_one_sentence(
    command: Command, few_images: tuple[str, ...], wanted: tuple[str, ...], told: str
) -> None:
    with simulated():
        status, output = command.call(*AUTO, *wanted, *few_images)
    assert status == 2, output
    assert output.splitlines()[-1].startswith(f"error: {told}")
    assert not list(Path(command.storage).glob("tables/*"))


def test_with_two_losses_as_many_trials_are_asked_for_as_give_each_network_one(
    command: Command, few_images: tuple[str, ...], both_losses: tuple[str, ...]
) -> None:
    least = 2 * (len(FIT) - 1) + 1
    few = ("--samples", str(least - 1), "--max-epochs", "1", "--images", "32")
    with simulated():
        status, output = command.call(*AUTO, *few, *few_images, *both_losses)
    assert status == 2, output
    assert output.splitlines()[-1].endswith(f"each gets a trial; give at least {least}")
    spaces = {name: Space(space_of(find(name)), ("mse", "perceptual")) for name in FIT}
    assert {network_of(number, spaces) for number in range(least)} == set(FIT)
    assert {network_of(number, spaces) for number in range(least - 1)} != set(FIT)


def test_a_space_of_several_networks_covers_all_of_them_in_charts() -> None:
    text = json.dumps(
        {
            name: {key: one.to_plain() for key, one in space_of(find(name)).items()}
            for name in ("fc", "separable")
        }
    )
    covers = read_space(text)
    assert (covers["learning_rate"].low, covers["learning_rate"].high) == (1e-4, 1e-1)
    assert read_space(text, "fc") == space_of(find("fc"))
