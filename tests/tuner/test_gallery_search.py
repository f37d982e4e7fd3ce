"""Pipelines of the gallery through everything: search, timing, export, report."""

from pathlib import Path

import pytest
import torch

from analysis.report.__main__ import main as report
from analysis.tables.files import read, rows_of
from analysis.tables.task_columns import task_of
from analysis.timing.__main__ import main as time_it
from analysis.timing.engines import runner_of
from analysis.timing.runs import data_of
from analysis.timing.subjects import FACTORS, PIPELINE, catalogue
from tests.trainables.pipelines.every import EVERY
from tests.tuner.conftest import Command
from tests.tuner.simulated_tune import simulated
from trainables.export import main as export_it
from trainables.pipelines.catalogue import LINEAR, PIPELINES

BUDGET = ("--samples", "1", "--max-epochs", "1", "--images", "64", "--finalists", "1")


def test_one_is_searched_and_timed_by_its_short_name(
    command: Command, few_images: tuple[str, ...]
) -> None:
    with simulated():
        asked = ("--pipeline", "down-up", "--model", "separable", *BUDGET, *few_images)
        status, output = command.call("--name", "run", *asked)
    assert status == 0, output
    assert "down-up takes a tensor (3, H, W) in [0, 1], many at a time and makes 3 × 32" in output
    storage = Path(command.storage)
    (run,) = rows_of(storage / "tables", "runs", "run")
    assert run["pipeline"] == "down-up"
    task = task_of(run)
    assert (task.is_affine, task.kronecker_rank, task.takes) == (True, 1, "float")

    data = data_of(storage, "run", None)
    assert data.task == task
    timed = {one.name: one for one in catalogue(["cpu"], [], [], task) if not one.is_network}
    assert list(timed) == ["down-up", "matrix, dense", FACTORS]
    subject = timed["down-up"]
    assert (subject.kind, subject.precision, subject.single) == (PIPELINE, "float32", False)
    for subject in timed.values():
        made = runner_of(subject, data.affine, storage).end_to_end(data.test.images[:5])
        torch.testing.assert_close(made, data.test.targets[:5], atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (
            ("--pipeline", "blurr"),
            "--pipeline blurr: there is none of that name; did you mean blur",
        ),
        (("--pipeline", "blur", "--takes", "pil"), "--takes pil: --pipeline blur is called as it"),
    ],
)
def test_what_can_not_be_searched_is_one_sentence_and_status_2(
    command: Command, few_images: tuple[str, ...], asked: tuple[str, ...], told: str
) -> None:
    with simulated():
        status, output = command.call("--model", "separable", *asked, *BUDGET, *few_images)
    assert status == 2, output
    (sentence,) = [line for line in output.splitlines() if line.startswith("error: ")]
    assert told in sentence


@pytest.mark.long
@pytest.mark.parametrize("name", EVERY)
def test_each_is_searched_goes_on_and_is_exported_timed_and_reported(
    name: str, command: Command, few_images: tuple[str, ...]
) -> None:
    model = "separable" if PIPELINES[name].kind in LINEAR else "fc"
    with simulated():
        asked = ("--pipeline", name, "--model", model, *BUDGET, *few_images)
        status, output = command.call("--name", "run", *asked)
        assert status == 0, output
        assert command.call("--resume", "run")[0] == 0
    storage = Path(command.storage)
    weights = storage / "networks" / "run=run" / "best.safetensors"
    assert export_it([str(weights), "--to", "onnx"]) == 0
    few = ("--series-sec", "1.5", "--images", "40", "--storage", str(storage))
    pipeline = "torchvision*" if name == "study" else name
    assert time_it(["--run", "run", *few, "--only", pipeline, "trial 0"]) == 0
    timings = read(storage / "tables", "timings", "run")
    assert {"pipeline", "trial"} == set(timings.kind)
    assert (timings.end_to_end_sec > 0).all()
    assert report(["run", "--storage", str(storage)]) == 0
    assert name in next(storage.rglob("*.html")).read_text()
