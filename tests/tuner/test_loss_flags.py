"""`--loss` and its flags; a search over both losses for real, with VGG16 weights that are made up."""

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from shlex import split

import pytest
from safetensors.torch import save_file

from analysis.tables.files import rows_of
from tests.trainables.made_up import vgg16
from tests.tuner.conftest import ROOT, TINY, Command
from tests.tuner.test_arguments import store
from trainables.losses.loss_settings import LOSSES, Perceptual
from trainables.networks.weights import read_header
from tuner.arguments import from_command_line
from tuner.plan import completed, load_vgg16
from tuner.settings import SearchConfig
from tuner.storage.experiment import STATE_FILE, Experiment

PERCEPTUAL = ("--loss", "perceptual")
TABLE = {
    "loss": "perceptual",
    "perceptual_layers": (2, 7),
    "perceptual_weights": (1.0, 0.5),
    "mse_weight": 2.0,
}


@pytest.fixture(scope="module")
def vgg(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("vgg") / "made-up.safetensors"
    save_file(vgg16().tensors, path, {"normalisation": "imagenet"})
    return path


def test_values_arrive_with_their_types() -> None:
    config = from_command_line(
        split(
            "--loss mse,perceptual --perceptual-layers 2 7 --perceptual-weights 1 .5 --mse-weight 2 "
            "--perceptual-size 64 --vgg-weights file --vgg-normalisation features --name x"
        )
    )
    assert config == SearchConfig(
        **{**TABLE, "loss": "mse,perceptual"},
        perceptual_size=64,
        vgg_weights="file",
        vgg_normalisation="features",
        name="x",
    )
    assert (config.losses, config.several_losses) == (("mse", "perceptual"), True)
    assert config.perceptual == Perceptual(
        layers=(2, 7), layer_weights=(1.0, 0.5), mse_weight=2.0, size=64
    )
    assert SearchConfig.from_json(config.to_json()) == config


def test_layers_without_weights_weigh_one_each() -> None:
    config = from_command_line([*PERCEPTUAL, "--perceptual-layers", "2", "28"])
    assert config.perceptual.layer_weights == (1.0, 1.0)


def test_a_completed_search_has_the_defaults_of_its_loss_and_one_of_the_mean_squared_error_has_none() -> (
    None
):
    more = {"gpus": 0.0, "data": "photos", "train_images": 2000}
    config = completed(SearchConfig(loss="perceptual", perceptual_size=64), **more)
    assert config.perceptual == replace(Perceptual(), size=64)
    assert (config.perceptual_layers, config.perceptual_size, config.vgg_weights) == (
        (2, 7, 14, 21, 28),
        64,
        "IMAGENET1K_V1",
    )
    assert completed(SearchConfig(), **more).vgg_weights is None
    assert load_vgg16(SearchConfig()) is None


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (
            "--perceptual-size 64 --vgg-weights f",
            "--perceptual-size and --vgg-weights: --loss mse does not use that",
        ),
        ("--loss perceptual --perceptual-size 31", "--perceptual-size ≥ 32 must hold, but got 31"),
        (
            "--loss perceptual --perceptual-layers 3",
            "--perceptual-layers must be convolutions of VGG16, but got 3",
        ),
        (
            "--loss perceptual --perceptual-weights 1 2",
            "--perceptual-weights must be as many as --perceptual-layers, 5, but got 2",
        ),
        (
            "--loss perceptual --mse-weight -1",
            "--mse-weight ≥ 0 and finite must hold, but got -1.0",
        ),
        (
            "--loss perceptual --vgg-normalisation z",
            "--vgg-normalisation z: choose one of imagenet, features",
        ),
    ],
)
def test_a_flag_that_makes_no_sense_is_told(arguments: str, told: str) -> None:
    with pytest.raises(ValueError, match=re.escape(told)):
        from_command_line(split(arguments))


def test_flags_of_the_loss_are_checked_without_pytorch() -> None:
    code = (
        "import sys\nfrom tuner.arguments import from_command_line\n"
        "from_command_line(['--loss', 'mse,perceptual', '--perceptual-size', '64', '--vgg-weights', 'x'])\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"


def test_a_run_keeps_its_loss_and_one_of_an_earlier_version_has_the_mean_squared_error(
    tmp_path: Path,
) -> None:
    place = str(tmp_path)
    store(
        tmp_path,
        SearchConfig(name="first", storage=place, perceptual_size=64, vgg_weights="f", **TABLE),
    )
    resume = ["--storage", place, "--resume", "first"]
    config = from_command_line(resume)
    assert config.perceptual == Perceptual(
        layers=(2, 7), layer_weights=(1.0, 0.5), mse_weight=2.0, size=64
    )
    assert (
        from_command_line([*resume, "--perceptual-weights", "1", "0.5", "--perceptual-size", "64"])
        == config
    )
    with pytest.raises(ValueError, match="--perceptual-size was 64, is 32"):
        from_command_line([*resume, "--perceptual-size", "32"])
    with pytest.raises(ValueError, match="--loss was perceptual, is mse"):
        from_command_line([*resume, "--loss", "mse"])
    assert SearchConfig.from_json('{"model": "fc", "samples": 3}').losses == ("mse",)


@pytest.mark.parametrize("weights", ["/no/such/file", "IMAGENET1K_V9"])
def test_weights_that_cannot_be_had_are_told_in_one_sentence(
    command: Command, weights: str
) -> None:
    code, output = command.run(
        "--model", "separable", *PERCEPTUAL, "--vgg-weights", weights, *TINY, timeout=120
    )
    assert code == 2
    assert output.startswith(f"error: --vgg-weights {weights}: there is no such file")
    assert output.count("\n") == 1


def test_a_search_over_both_losses_is_resumed_and_ranks_by_cosine_accuracy(
    command: Command, vgg: Path
) -> None:
    loss = (
        "--loss",
        "mse,perceptual",
        "--perceptual-layers",
        "0",
        "2",
        "--perceptual-weights",
        "1",
        "0.5",
    )
    search = ("--model", "separable", *loss, "--perceptual-size", "32", "--vgg-weights", str(vgg))
    budget = (
        "--samples",
        "4",
        "--max-epochs",
        "2",
        "--concurrency",
        "1",
        "--finalists",
        "1",
        "--confirm-seeds",
        "1",
    )
    images = ("--data", "photos", "--images", "64", "--timing", "none", "--wandb", "disabled")
    driver = command.start("--name", "run", *search, *budget, *images)
    command.wait_for_epochs("run", 1)
    driver.kill()
    driver.wait()
    code, output = command.run("--resume", "run")
    assert code == 0, output
    assert f"layers 0, 2 of VGG16 ({vgg}, 32 × 32 pixels) weighted 1, 0.5" in output
    assert "the best trial is the one with the highest validation cosine accuracy at 0.95" in output
    assert "trial   3  starts    perceptual loss, lr" in output

    trials, samples, epochs = (
        rows_of(command.storage / "tables", name, "run") for name in ("trials", "samples", "epochs")
    )
    losses_of = {row["trial"]: row["loss"] for row in trials}
    searched = [row for row in trials if row["confirms"] is None]
    assert [row["loss"] for row in searched] == ["mse", "perceptual", "mse", "perceptual"]
    best = max(
        searched, key=lambda row: (row["best_validation_accuracy"], row["best_validation_cosine"])
    )
    assert f"Best: trial {best['trial']} ({best['loss']} loss, " in output
    assert f"trial {best['trial']} ({best['loss']}) " in output
    facts = read_header(command.storage / "networks" / "run=run" / "best.safetensors").facts
    assert (facts["trial"], facts["loss"]) == (best["trial"], best["loss"])

    # The best of each loss is measured, pictured and trained again with its loss, though one finalist was asked for
    repeats = [row for row in trials if row["confirms"] is not None]
    assert (
        {row["loss"] for row in repeats}
        == {"mse", "perceptual"}
        == {losses_of[row["trial"]] for row in samples}
    )
    assert all(row["loss"] == losses_of[row["confirms"]] for row in repeats)

    # Activations weigh tens of times what pixels do, and are in no checkpoint
    lowest = {
        loss: min(row["train_loss"] for row in epochs if losses_of[row["trial"]] == loss)
        for loss in LOSSES
    }
    assert lowest["perceptual"] > 2 * lowest["mse"]
    checkpoint = Experiment.of(str(command.storage), "run").checkpoints(3)[0]
    assert (Path(checkpoint) / STATE_FILE).stat().st_size < 64 * 64 * 9 * 4, (
        "less than VGG16's second layer"
    )
