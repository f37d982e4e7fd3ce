"""A pipeline of a person's own through the whole command: search, tables, weights, resume."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from analysis.tables.files import rows_of
from analysis.tables.task_columns import task_of
from analysis.timing.runs import data_of
from tests.tuner.conftest import Command
from tests.tuner.simulated_tune import simulated
from trainables.data.examples import as_float
from trainables.errors import UsageError
from trainables.export import export, load_exported
from trainables.networks.weights import load_network, read_header
from trainables.tasks import RECORDED

PIPELINE = """
import numpy as np
import torch
from PIL import Image

class Half:
    def __call__(self, image):
        return image.resize((image.width // 2, image.height // 2), Image.Resampling.BOX)

class Normalised:
    def __call__(self, image):
        return torch.from_numpy(np.array(image)).permute(2, 0, 1) / 127.5 - 1

class Compose:
    def __init__(self, *transforms):
        self.transforms = transforms

    def __call__(self, image):
        for transform in self.transforms:
            image = transform(image)
        return image

half = Compose(Half(), Normalised())

def seventh(image):
    raise RuntimeError("no such thing")
"""
BUDGET = ("--samples", "2", "--max-epochs", "2", "--images", "64", "--finalists", "1")


@pytest.fixture
def own(tmp_path: Path) -> Path:
    path = tmp_path / "own.py"
    path.write_text(PIPELINE)
    return path


def test_a_pipeline_that_halves_and_normalises_colours_is_searched_like_the_study(
    command: Command, few_images: tuple[str, ...], own: Path
) -> None:
    asked = ("--pipeline", f"{own}:half", "--model", "separable", "--image-size", "24", "20")
    with simulated():
        status, output = command.call("--name", "run", *asked, *BUDGET, *few_images)
    assert status == 0, output
    assert f"{own}:half takes a PIL image and makes 3 × 12 × 10 of 3 × 24 × 20, from -0." in output
    assert "steps Half → Normalised; affine within" in output

    tables = Path(command.storage) / "tables"
    (run,) = rows_of(tables, "runs", "run")
    task = task_of(run)
    assert (task.input_shape, task.output_shape) == ((3, 24, 20), (3, 12, 10))
    assert (task.takes, task.batched, task.offset, task.kronecker_rank) == ("pil", False, True, 1)
    assert json.loads(run["steps"]) == ["Half", "Normalised"]
    scores = rows_of(tables, "scores", "run")
    subjects = {row["subject"]: row for row in scores if row["threshold"] == 0.999}
    assert list(subjects)[1:] == [
        *("flat image", "mean image", "resized input", "pipeline without Normalised"),
        "pipeline's own matrix",
    ]
    assert subjects["pipeline's own matrix"]["value"] == 1
    assert subjects["flat image"]["value"] < 0.5

    data = data_of(Path(command.storage), "run", None)
    assert data.task == task
    assert data.affine
    test = data.test
    sample = rows_of(tables, "samples", "run")[0]
    truth = np.array(Image.open(io.BytesIO(sample["truth"])))
    assert truth.shape == (12, 10, 3)
    expected = (test.targets[sample["image"]].permute(1, 2, 0) + 1) / 2 * 255
    scale = 2 / task.span  # from the task's range to bytes
    assert np.abs(truth - expected.numpy() * scale).max() < 3

    weights = Path(command.storage) / "networks" / "run=run" / "best.safetensors"
    network = load_network(weights)
    assert read_header(weights).task == task
    export(network, task, "torch", own.with_suffix(".pt2"))
    torch.testing.assert_close(
        load_exported(own.with_suffix(".pt2"))(test.images[:5]),
        network(as_float(test.images[:5])),
        atol=1e-4,
        rtol=0,
    )

    own.write_text(PIPELINE.replace("BOX", "NEAREST"))
    with pytest.raises(UsageError, match="gives other outputs than when the run was made"):
        data_of(Path(command.storage), "run", None)
    with simulated():
        status, output = command.call("--resume", "run")
    assert status == 2
    assert f"--pipeline {own}:half gives other outputs than when the run began" in output


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (("--pipeline", "own.py:seventh"), "it raises RuntimeError: no such thing"),
        (("--pipeline", "own.py:half", "--model", "cnn"), "cnn makes outputs of the input's size"),
        (("--pipeline", "nowhere.py:half"), "there is no file 'nowhere.py'; correct the path"),
        (("--pipeline", "nowhere:half"), "there is no module 'nowhere' in this directory"),
        (("--pipeline", "half"), "there is none of that name; --pipeline list prints all, and"),
        (("--takes", "pil"), "--pipeline study is called as it has to be; leave --takes out"),
        (("--image-size", "1", "2", "3"), "give height and width, or one number for squares"),
        (("--pairs", "x", "--pipeline", "own.py:half"), "pairs say what the pipeline makes"),
        (("--pairs", "x", "--data", "photos"), "both say where images are; give one of both"),
    ],
)
def test_what_can_not_be_asked_about_is_one_sentence_and_status_2(
    command: Command,
    few_images: tuple[str, ...],
    own: Path,
    monkeypatch: pytest.MonkeyPatch,
    asked: tuple[str, ...],
    told: str,
) -> None:
    monkeypatch.chdir(own.parent)
    command.tries_out = True
    flags = few_images[2:] if "--pairs" in asked else few_images
    with simulated():
        status, output = command.call("--model", "separable", *asked, *BUDGET, *flags)
    assert status == 2, output
    (sentence,) = [line for line in output.splitlines() if line.startswith("error: ")]
    assert told in sentence
    assert "Traceback" not in output


def test_recorded_pairs_are_searched_without_a_pipeline(
    command: Command, few_images: tuple[str, ...], tmp_path: Path
) -> None:
    random = np.random.default_rng(0)
    for side in ("input", "target"):
        (tmp_path / "pairs" / side).mkdir(parents=True)
    for number in range(60):
        pixels = random.integers(0, 256, (6, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"pairs/input/{number}.png")
        Image.fromarray(pixels[:, ::-1]).save(tmp_path / f"pairs/target/{number}.png")
    asked = ("--pairs", str(tmp_path / "pairs"), "--model", "fc", "--images", "40")
    flags = ("--timing", "none", "--wandb", "disabled", "--samples", "1", "--max-epochs", "1")
    with simulated():
        status, output = command.call("--name", "run", *asked, *flags)
        assert status == 0, output
        again, _ = command.call("--resume", "run")
    assert again == 0
    assert "recorded pipeline makes 3 × 6 × 8 of 3 × 6 × 8, from 0 to 1" in output
    (run,) = rows_of(Path(command.storage) / "tables", "runs", "run")
    assert (run["pipeline"], run["data"], run["takes"]) == (RECORDED, asked[1], "")
    scores = rows_of(Path(command.storage) / "tables", "scores", "run")
    assert {row["subject"] for row in scores if row["kind"] == "ceiling"} == {
        "own output in 8 bits"
    }
    test = data_of(Path(command.storage), "run", None).test
    torch.testing.assert_close(test.targets, as_float(test.images).flip(3))

    for number in range(60):  # the pairs are made anew, by another pipeline
        shown = Image.open(tmp_path / f"pairs/input/{number}.png")
        shown.save(tmp_path / f"pairs/target/{number}.png")
    with pytest.raises(UsageError, match=f"^--run run: {asked[1]} gives other outputs than when"):
        data_of(Path(command.storage), "run", None)
    with simulated():
        status, output = command.call("--resume", "run")
    assert status == 2
    assert f"--pairs {asked[1]} gives other outputs than when the run began: bring its" in output
