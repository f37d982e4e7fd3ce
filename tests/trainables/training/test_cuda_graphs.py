from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import ClassVar

import pytest
import torch
from torch import Tensor

from tests.trainables.made_up import task_for
from tests.trainables.training.recorded_on_cpu import Graph, graphs
from trainables.data.examples import random_examples
from trainables.networks.registry import NETWORKS
from trainables.networks.separable import Separable
from trainables.training.cuda_graphs import WARM_UP_CALLS, CudaGraphStep
from trainables.training.loop import Training, TrainingConfig, graph_pays
from trainables.training.workers import Workers

__all__ = ["graphs"]  # a fixture


def test_a_function_is_called_some_times_then_recorded_once_and_replayed(
    graphs: list[Graph],
) -> None:
    calls: list[float] = []
    state = torch.zeros(1)

    def function(argument: Tensor) -> Tensor:
        calls.append(1)
        state.add_(argument)
        return state * 2

    replayed = CudaGraphStep()
    results = [replayed(function, torch.tensor([float(n)])).item() for n in range(1, 8)]
    assert results == [2 * n * (n + 1) / 2 for n in range(1, 8)]
    assert len(calls) == WARM_UP_CALLS + 1
    assert [graph.replays for graph in graphs] == [7 - WARM_UP_CALLS]
    assert replayed.problem == ""


def test_a_function_that_can_t_be_recorded_is_called_as_it_is(
    graphs: list[Graph], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refusing(*arguments: object, **named: object) -> None:
        raise RuntimeError("CUDA error: operation not permitted when stream is capturing\nmore")

    monkeypatch.setattr(torch.cuda, "graph", refusing)
    replayed = CudaGraphStep()
    assert [
        replayed(lambda argument: argument + 1, torch.tensor([n])).item() for n in range(6)
    ] == [1, 2, 3, 4, 5, 6]
    assert replayed.problem == "CUDA error: operation not permitted when stream is capturing"
    assert len(graphs) == 1
    assert graphs[0].replays == 0


def test_what_ended_a_recording_is_told_and_not_that_it_could_not_be_left(
    graphs: list[Graph], monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def left_with_an_error(*arguments: object, **named: object) -> Iterator[None]:
        try:
            yield
        finally:
            raise RuntimeError("capture was invalidated")

    def waiting(argument: Tensor) -> Tensor:
        if len(calls) == WARM_UP_CALLS:
            calls.append(1)
            raise RuntimeError("operation not permitted: .item()")
        calls.append(1)
        return argument

    calls: list[int] = []
    monkeypatch.setattr(torch.cuda, "graph", left_with_an_error)
    replayed = CudaGraphStep()
    for n in range(6):
        assert replayed(waiting, torch.tensor([n])).item() == n
    assert replayed.problem == "operation not permitted: .item()"


CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.mark.parametrize(
    ("device", "workers", "settings", "pays"),
    [
        (CUDA, 1, {}, True),
        (CUDA, 1, {"model": "cnn"}, True),
        (CUDA, 1, {"model": "separable"}, True),
        (CUDA, 1, {"model": "kron"}, True),
        (CUDA, 1, {"model": "can"}, True),
        (CPU, 1, {}, False),
        (CUDA, 2, {}, False),
        (CUDA, 1, {"loss": "perceptual"}, True),
        (CUDA, 1, {"model": f"{__name__}:OfOnesOwn"}, False),
    ],
)
def test_small_networks_are_replayed_on_a_gpu_and_others_only_where_they_say_so(
    device: torch.device, workers: int, settings: dict[str, str], pays: bool
) -> None:
    config = TrainingConfig(
        **{"model": "fc", "learning_rate": 1e-2, "max_epochs": 4, "seed": 3, **settings}
    )
    assert graph_pays(config, device, Workers(0, workers)) is pays


class OfOnesOwn(Separable):
    habits: ClassVar = replace(Separable.habits, cuda_graph=False)


SMALL = {
    "fc": {"dropout": 0.3},
    "cnn": {"dropout": 0.3, "channels": 8},
    "kron": {"terms": 2, "width": 8, "extra": 1},
    "can": {"channels": 8, "depth": 3},
}


@pytest.mark.parametrize(
    ("model", "schedule"),
    [
        *((model, "one-cycle") for model in NETWORKS),
        *((model, name) for model in ("fc", "separable") for name in ("constant", "cosine")),
    ],
)
def test_a_training_through_graphs_gives_the_numbers_of_one_without(
    model: str, schedule: str, graphs: list[Graph]
) -> None:
    task = task_for(model)
    train, validation = random_examples(56, task), random_examples(16, task)
    config = TrainingConfig(
        model=model,
        task=task,
        learning_rate=1e-3,
        schedule=schedule,
        chosen=SMALL.get(model, {}),
        max_epochs=4,
        seed=3,
        batch_size=16,
        precision="float32",
    )
    plain, through = (
        Training(config, train, validation, device=torch.device("cpu")) for _ in range(2)
    )
    assert through.graph is None  # on a CPU
    through.graph = CudaGraphStep()
    for before, after in zip(plain.epochs(), through.epochs(), strict=True):
        for name in ("train_loss", "validation_loss", "validation_cosine"):
            assert getattr(after, name) == pytest.approx(getattr(before, name), rel=1e-5)
    batches = len(train) // 16 * 4  # the last one of an epoch is smaller
    assert len(train) % 16 > 0
    assert [graph.replays for graph in graphs] == [batches - WARM_UP_CALLS]
