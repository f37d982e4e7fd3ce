"""Two processes train one network over loopback; this file is also what they run."""

import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, distributed

from tests.paths import ROOT
from tests.trainables import made_up
from trainables.data.examples import Examples, as_float
from trainables.goal import Goal
from trainables.losses.loss_settings import Perceptual
from trainables.tasks import STUDY
from trainables.training.loop import Training, TrainingConfig
from trainables.training.workers import Workers

FIELDS = ("train_loss", "validation_loss", "validation_cosine", "validation_accuracy")
EPOCHS = 2
CASES = {
    "fc": {"model": "fc", "train": 104, "validation": 33, "batch_size": 32},
    "schedule": {
        "model": "separable",
        "train": 104,
        "validation": 33,
        "batch_size": 32,
        "schedule": "one-cycle",
    },
    "odd batches": {"model": "separable", "train": 101, "validation": 32, "batch_size": 33},
    "bfloat16": {
        "model": "cnn",
        "train": 4,
        "validation": 2,
        "batch_size": 4,
        "precision": "bfloat16",
    },
    "kron": {"model": "kron", "train": 33, "validation": 7, "batch_size": 16},
    "can": {
        "model": "can",
        "train": 10,
        "validation": 3,
        "batch_size": 4,
        "precision": "float32",
        "chosen": {"channels": 8, "depth": 2},
    },
    "perceptual": {
        "model": "separable",
        "train": 11,
        "validation": 3,
        "batch_size": 6,
        "loss": "perceptual",
    },
    "own loss and score": {
        "model": "separable",
        "train": 33,
        "validation": 7,
        "batch_size": 16,
        "loss": "tests.trainables.own_losses:absolute_error",
        "goal": Goal(rank_by="psnr"),
        "metric": "psnr",
    },
    "batch of one": {"model": "separable", "train": 33, "validation": 32, "batch_size": 32},
    "validation of one": {"model": "separable", "train": 32, "validation": 1, "batch_size": 32},
}


def records_of(
    workers: Workers, model: str, train: int, validation: int, **settings: Any
) -> list[dict[str, Any]]:
    task = made_up.task_for(model)
    perceptual = Perceptual(layers=(0, 2), layer_weights=(1.0, 0.5), size=32)
    config = TrainingConfig(
        model=model,
        task=task,
        learning_rate=1e-3,
        max_epochs=EPOCHS,
        seed=0,
        perceptual=perceptual,
        **settings,
    )
    examples = [made_up.photographs(train, "train"), made_up.photographs(validation, "validation")]
    if task != STUDY:
        examples = [
            Examples(one.images, as_float(one.images).mean(dim=1, keepdim=True)) for one in examples
        ]
    training = Training(
        config, *examples, device=torch.device("cpu"), workers=workers, vgg=made_up.vgg16(2)
    )
    return [asdict(record) for record in training.epochs()]


@pytest.fixture(scope="module")
def of_two_workers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    """What each case gave on the two workers: a list of records per worker, or the error."""
    directory = tmp_path_factory.mktemp("workers")
    environment = {**os.environ, "GLOO_SOCKET_IFNAME": "lo"}
    commands = [[sys.executable, "-m", __name__, str(rank), str(directory)] for rank in range(2)]
    processes = [
        subprocess.Popen(c, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
        for c in commands
    ]
    answers = [
        json.loads(process.communicate(timeout=120)[0].splitlines()[-1]) for process in processes
    ]
    return {name: [answer[name] for answer in answers] for name in CASES}


def run_all_cases(rank: int, directory: Path) -> None:
    torch.set_num_threads(1)
    answers: dict[str, Any] = {}
    for number, (name, case) in enumerate(CASES.items()):
        rendezvous = f"file://{directory}/{number}"
        distributed.init_process_group("gloo", init_method=rendezvous, rank=rank, world_size=2)
        try:
            answers[name] = records_of(Workers(rank, 2), **case)
        except (IndexError, RuntimeError) as error:
            answers[name] = repr(error)
        distributed.destroy_process_group()
    print(json.dumps(answers))


@pytest.mark.parametrize(
    "name",
    [
        "fc",
        "schedule",
        "odd batches",
        "bfloat16",
        "kron",
        "can",
        "perceptual",
        "own loss and score",
        "batch of one",
        "validation of one",
    ],
)
def test_two_workers_give_the_records_of_one_with_the_same_global_batch(
    of_two_workers: dict[str, list[Any]], name: str
) -> None:
    alone = records_of(Workers(), **CASES[name])
    assert len(alone) == EPOCHS
    tolerance = (
        1e-2 if name == "bfloat16" else 1e-4
    )  # bfloat16 has 8 bits; half the batch rounds otherwise
    for records in of_two_workers[name]:
        assert [record["stop_reason"] for record in records] == [
            record["stop_reason"] for record in alone
        ]
        for mine, expected in zip(records, alone, strict=True):
            assert [mine[f] for f in FIELDS] == pytest.approx(
                [expected[f] for f in FIELDS], abs=tolerance
            )
            score = mine["validation_score"]
            assert score == pytest.approx(expected["validation_score"], abs=tolerance)
            assert (score is None) == ("metric" not in CASES[name])


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("size", [1, 7, 12])
def test_the_shards_of_all_workers_make_the_whole_batch(count: int, size: int) -> None:
    batch = torch.randperm(size)
    shards = [Workers(rank, count).shard(batch) for rank in range(count)]
    assert torch.cat(shards).sort().values.tolist() == list(range(size))
    assert max(map(len, shards)) - min(map(len, shards)) <= 1


def test_a_lone_worker_adds_up_without_a_process_group() -> None:
    tensors: list[Tensor] = [torch.rand(2, 3), torch.rand(())]
    assert all(torch.equal(a, b) for a, b in zip(Workers().add_up(tensors), tensors, strict=True))


if __name__ == "__main__":
    run_all_cases(int(sys.argv[1]), Path(sys.argv[2]))
