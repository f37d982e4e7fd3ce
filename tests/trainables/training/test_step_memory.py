"""What a step takes of a GPU's memory, with a stand-in for CUDA's counters."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from tests.trainables.made_up import vgg16
from trainables.losses.loss_settings import Perceptual
from trainables.training import step_memory
from trainables.training.loop import Training, TrainingConfig
from trainables.training.step_memory import StepMemory, measure

CPU = torch.device("cpu")
CONFIG = TrainingConfig(model="fc", learning_rate=1e-3, max_epochs=1, seed=0, batch_size=8)
GPU, CONTEXT, OTHERS, EACH = 10_000, 300, 77, 50


class Counters:
    """Stands for `torch.cuda`: a GPU on which each training so far holds EACH bytes more."""

    def __init__(self, nvml: bool = True) -> None:
        self.nvml = nvml
        self.context = 0
        self.reserved = 0
        self.fractions: list[float] = []
        self.resets = 0

    def init(self) -> None:
        self.context = CONTEXT

    def set_per_process_memory_fraction(self, fraction: float, device: torch.device) -> None:
        self.fractions.append(fraction)

    def reset_peak_memory_stats(self, device: torch.device) -> None:
        self.resets += 1

    def empty_cache(self) -> None:
        self.reserved = 0

    def device_memory_used(self, device: torch.device) -> int:
        if not self.nvml:
            raise ModuleNotFoundError("nvidia-ml-py does not seem to be installed")
        return OTHERS + self.context + self.reserved

    def memory_reserved(self, device: torch.device) -> int:
        return self.reserved

    def max_memory_reserved(self, device: torch.device) -> int:
        return EACH

    def mem_get_info(self, device: torch.device) -> tuple[int, int]:
        return 1, GPU


def measured(cuda: Counters, **more: Any) -> StepMemory:
    counts = {"train_images": 100, "validation_images": 30}
    arguments = {**counts, "fraction": 0.25, "device": CPU, "cuda": cuda, **more}
    return measure(arguments.pop("config", CONFIG), **arguments)


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[Training]:
    """Trainings that were made."""
    made: list[Training] = []

    def build(*arguments: Any, **named: Any) -> Training:
        made.append(Training(*arguments, **named))
        return made[-1]

    monkeypatch.setattr(step_memory, "Training", build)
    return made


def test_a_step_runs_within_its_share_and_tells_what_cuda_counted() -> None:
    cuda = Counters()
    found = measured(cuda)
    assert cuda.fractions == [0.25]
    assert cuda.resets == 1
    assert found == StepMemory(
        fraction=0.25,
        reserved_bytes=EACH,
        context_bytes=CONTEXT,
        gpu_bytes=GPU,
    )


def test_where_nvml_says_nothing_cuda_itself_counts_nothing() -> None:
    assert measured(Counters(nvml=False)).context_bytes == 0


@pytest.mark.parametrize(
    ("images", "batch_size", "trained_on"),
    [(100, 8, 44), (40, 8, 40), (20, 8, 20), (100, 30, 100), (5, 8, 5)],
)
def test_whole_batches_until_a_graph_is_replayed_are_trained_on_and_the_smaller_last_one(
    trained: list[Training], images: int, batch_size: int, trained_on: int
) -> None:
    measured(Counters(), config=replace(CONFIG, batch_size=batch_size), train_images=images)
    assert [len(training.train) for training in trained] == [trained_on]
    assert [len(training.history) for training in trained] == [1]


def test_images_that_are_left_out_have_their_place_beside_those_that_are_trained_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sizes = []

    def empty(size: int, **named: Any) -> torch.Tensor:
        sizes.append(size)
        return torch.zeros(size, **named)

    monkeypatch.setattr(step_memory.torch, "empty", empty)
    measured(Counters(), train_images=1000, validation_images=1500)
    assert sizes[0] == (1000 - 5 * 8 + 1500 - 1000) * (3 * 32 * 32 + 28 * 28 * 4)


def failing(times: int, error: Exception) -> Callable[..., None]:
    errors = [error] * times

    def train(*_: object) -> None:
        if errors:
            raise errors.pop()

    return train


def test_a_share_that_is_too_small_is_told_with_what_a_whole_gpu_would_hold(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cuda = Counters()
    monkeypatch.setattr(step_memory, "_train_a_moment", failing(1, torch.OutOfMemoryError()))
    found = measured(cuda)
    assert cuda.fractions == [0.25, 1.0]
    assert cuda.resets == 2
    assert (found.fraction, found.reserved_bytes) == (1.0, EACH)


@pytest.mark.parametrize(("fraction", "tried"), [(0.25, [0.25, 1.0]), (1.0, [1.0])])
def test_no_share_is_enough_where_a_whole_gpu_is_too_small(
    monkeypatch: pytest.MonkeyPatch, fraction: float, tried: list[float]
) -> None:
    cuda = Counters()
    monkeypatch.setattr(step_memory, "_train_a_moment", failing(2, torch.OutOfMemoryError()))
    assert measured(cuda, fraction=fraction).fraction == math.inf
    assert cuda.fractions == tried


def test_another_error_of_the_network_is_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step_memory, "_train_a_moment", failing(1, RuntimeError("shapes differ")))
    with pytest.raises(RuntimeError, match="shapes differ"):
        measured(Counters())


def test_the_perceptual_loss_goes_through_vgg16(trained: list[Training]) -> None:
    small = Perceptual(layers=(2,), layer_weights=(1.0,), size=32)
    config = replace(CONFIG, loss="perceptual", perceptual=small)
    measured(Counters(), config=config, train_images=16, vgg=vgg16(through=2))
    assert trained[0].perceptual_batch is not None
