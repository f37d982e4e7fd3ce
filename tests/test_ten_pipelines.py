"""Pipelines × networks: what anybody's pipeline is asked, from probing it to a report about it."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from analysis.report.__main__ import main as report
from analysis.tables.files import read
from analysis.timing.__main__ import main as time_it
from tests.paths import ROOT
from tests.ten_pipelines import TEN, Known
from tests.tuner.conftest import Command
from tests.tuner.few_images import write_few_images
from tests.tuner.simulated_tune import simulated
from trainables.data import sources
from trainables.data.examples import Examples, as_float
from trainables.export import export, load_exported
from trainables.export import main as export_it
from trainables.networks.registry import NETWORKS, find, misfit
from trainables.networks.weights import SavedNetwork, load_network, save_network
from trainables.pipelines import process
from trainables.tasks import Task
from trainables.training.loop import Training, TrainingConfig

FILE = "tests/ten_pipelines.py"
COUNTS = {"train": 40, "validation": 20, "test": 20}
EPOCHS = 2


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_few_images(tmp_path_factory.mktemp("few") / "images")


@pytest.fixture(scope="module")
def probed(few: Path, tmp_path_factory: pytest.TempPathFactory):
    """A pipeline's task with its splits, each found once, as the process for it finds them."""
    images = torch.from_numpy(sources.read(str(few), (32, 32), None).train)

    @cache
    def find_out(name: str) -> tuple[Task, dict[str, Examples]]:
        directory = tmp_path_factory.mktemp(name)
        parts = dict(zip(COUNTS, images[:80].split(list(COUNTS.values())), strict=True))
        for split, part in parts.items():
            np.save(directory / f"{split}.npy", part.numpy())
        asked = {"pipeline": f"{ROOT / FILE}:{name}", "takes": None, "cores": 1}
        answer = process.work({**asked, "directory": str(directory)}, lambda line: None)
        targets = {s: torch.from_numpy(np.load(directory / f"{s}.targets.npy")) for s in COUNTS}
        splits = {split: Examples(parts[split], targets[split]) for split in COUNTS}
        return Task.from_plain(answer["task"]), splits

    return find_out


def fits(model: str, known: Known) -> bool:
    """Whether a network of the registry can do what such a pipeline does."""
    if model == "cnn":
        return known.output_shape[1:] in ((32, 32), (28, 28))
    if model == "can":
        return known.output_shape[1:] == (32, 32)
    return model in ("fc", "kron") or known.affine


@pytest.mark.parametrize("name", TEN)
def test_what_is_found_out_about_a_pipeline_is_what_reading_it_says(name: str, probed) -> None:
    task, splits = probed(name)
    known = TEN[name]
    assert (task.takes, task.batched) == (known.takes, known.batched)
    assert (task.input_shape, task.output_shape) == ((3, 32, 32), known.output_shape)
    assert (task.is_affine, task.is_unit) == (known.affine, known.unit)
    targets = splits["train"].targets
    assert task.low <= float(targets.min()) < float(targets.max()) <= task.high


@pytest.mark.parametrize("model", NETWORKS)
@pytest.mark.parametrize("name", TEN)
def test_a_network_trains_for_it_is_kept_and_exported_or_says_why_not(
    name: str, model: str, probed, tmp_path: Path
) -> None:
    task, splits = probed(name)
    why_not = misfit(find(model), task)
    assert why_not.startswith("" if fits(model, TEN[name]) else f"{model} ")
    assert bool(why_not) != fits(model, TEN[name])
    if why_not:
        return
    config = TrainingConfig(
        model=model, task=task, learning_rate=1e-3, max_epochs=EPOCHS, seed=0, batch_size=8
    )
    training = Training(config, splits["train"], splits["validation"], device=torch.device("cpu"))
    first, last = training.epochs()
    assert last.train_loss < first.train_loss
    path = tmp_path / "network.safetensors"
    save_network(path, training.best_weights, SavedNetwork(model, {}, {}, task))
    network = load_network(path)
    images = splits["test"].images[:3]
    outputs = network(as_float(images))
    assert outputs.shape == (3, *task.output_shape)
    export(network, task, "torch", tmp_path / "network.pt2")
    exported = load_exported(tmp_path / "network.pt2")(images)
    torch.testing.assert_close(exported, outputs, atol=1e-5 * task.span, rtol=0)


@pytest.mark.long
@pytest.mark.parametrize("model", NETWORKS)
@pytest.mark.parametrize("name", TEN)
def test_it_is_searched_exported_timed_and_reported(
    name: str, model: str, few: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    command = Command(tmp_path)
    command.tries_out = True
    asked = ("--pipeline", f"{FILE}:{name}", "--data", str(few), "--images", "200")
    budget = ("--samples", "2", "--max-epochs", "2", "--finalists", "1", "--timing", "none")
    with simulated():
        status, output = command.call(
            *("--name", "run", "--model", model, "--wandb", "disabled", *asked, *budget)
        )
    assert status == (0 if fits(model, TEN[name]) else 2), output
    if status == 2:
        assert f"error: {model} " in output
        return
    storage = ("--storage", str(tmp_path))
    weights = tmp_path / "networks" / "run=run" / "best.safetensors"
    assert export_it([str(weights), "--to", "onnx"]) == 0
    assert (
        time_it(
            [
                "--run",
                "run",
                "--series-sec",
                "1.5",
                "--images",
                "40",
                "--only",
                "ten_pipelines*",
                "trial 0",
                *storage,
            ]
        )
        == 0
    )
    assert report(["run", *storage]) == 0
    timings = read(tmp_path / "tables", "timings", "run")
    assert {"pipeline", "trial"} <= set(timings.kind)
    assert (timings.end_to_end_sec > 0).all()
    page = next(tmp_path.rglob("*.html")).read_text()
    assert f"{FILE}:{name}" in page
