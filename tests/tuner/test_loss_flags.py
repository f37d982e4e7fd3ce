"""`--loss` and its flags; a search over both losses for real, with VGG16 weights that are made up."""

from pathlib import Path

import pytest
from safetensors.torch import save_file

from analysis.tables.files import rows_of
from tests.trainables.made_up import vgg16
from tests.tuner.conftest import TINY, Command
from trainables.losses.loss_settings import LOSSES
from trainables.networks.weights import read_header
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
    searched = [row for row in trials if row["repeat_of"] is None]
    assert [row["loss"] for row in searched] == ["mse", "perceptual", "mse", "perceptual"]
    best = max(
        searched, key=lambda row: (row["best_validation_accuracy"], row["best_validation_cosine"])
    )
    assert f"Best: trial {best['trial']} ({best['loss']} loss, " in output
    assert f"trial {best['trial']} ({best['loss']}) " in output
    facts = read_header(command.storage / "networks" / "run=run" / "best.safetensors").facts
    assert (facts["trial"], facts["loss"]) == (best["trial"], best["loss"])

    # The best of each loss is measured, pictured and trained again with its loss, though one finalist was asked for
    repeats = [row for row in trials if row["repeat_of"] is not None]
    assert (
        {row["loss"] for row in repeats}
        == {"mse", "perceptual"}
        == {losses_of[row["trial"]] for row in samples}
    )
    assert all(row["loss"] == losses_of[row["repeat_of"]] for row in repeats)

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
