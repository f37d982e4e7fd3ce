import re
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from trainables.data.examples import as_float
from trainables.errors import UsageError
from trainables.networks.base import (
    Budget,
    EndToEnd,
    Habits,
    as_input,
    check_outputs,
    parameter_count,
)
from trainables.networks.registry import build
from trainables.tasks import STUDY


def test_only_what_training_adjusts_is_counted() -> None:
    network = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2), nn.Linear(2, 1))
    assert parameter_count(network) == 8 + 4 + 3
    network[0].requires_grad_(False)
    assert parameter_count(network) == 4 + 3


@pytest.fixture
def images() -> Tensor:
    return torch.randint(0, 256, (7, 3, 32, 32), dtype=torch.uint8)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_inputs_lie_in_memory_as_asked(images: Tensor, memory_format: torch.memory_format) -> None:
    inputs = as_input(images, memory_format)
    assert torch.equal(inputs, as_float(images))
    assert inputs.is_contiguous(memory_format=memory_format)


@pytest.mark.parametrize("slice_size", [None, 1, 3, 7, 100])
def test_slices_give_what_the_network_gives_of_all_at_once(
    images: Tensor, slice_size: int | None
) -> None:
    network = build("cnn").eval()
    with torch.inference_mode():
        expected = network(as_float(images))
        outputs = EndToEnd(network, slice_size)(images)
    torch.testing.assert_close(outputs, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("slice_size", "seen"), [(None, [7]), (3, [3, 3, 1])])
def test_no_more_images_than_a_slice_go_through_at_once_and_those_channels_last(
    images: Tensor, slice_size: int | None, seen: list[int]
) -> None:
    counts: list[int] = []

    class Noting(nn.Module):
        def forward(self, inputs: Tensor) -> Tensor:
            counts.append(len(inputs))
            assert inputs.is_contiguous(memory_format=torch.channels_last) == bool(slice_size)
            return inputs

    assert torch.equal(EndToEnd(Noting(), slice_size)(images), as_float(images))
    assert counts == seen


def test_a_network_that_takes_all_at_once_is_left_as_it_is() -> None:
    network = build("cnn").to(memory_format=torch.channels_last)
    kernel = next(EndToEnd(network).parameters())
    assert kernel.is_contiguous(memory_format=torch.channels_last)
    contiguous = EndToEnd(build("cnn"), slice_size=2)
    assert next(contiguous.parameters()).is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    ("habits", "problem"),
    [
        ({}, ""),
        ({"cpu_slice": 32, "cpu": Budget(samples=1, max_epochs=1)}, ""),
        ({"batch_size": 0}, "batch_size is a whole number ≥ 1, but got 0"),
        ({"cpu_slice": 2.5}, "cpu_slice is a whole number ≥ 1, but got 2.5"),
        (
            {"cpu": Budget(samples=0, max_epochs=1)},
            "cpu.samples is a whole number ≥ 1, but got 0",
        ),
        (
            {"gpu": Budget(samples=1, max_epochs=-1)},
            "gpu.max_epochs is a whole number ≥ 1, but got -1",
        ),
        (
            {"gpu": Budget(samples=1, max_epochs=1, images=-5)},
            "gpu.images is a whole number ≥ 1, but got -5",
        ),
    ],
)
def test_habits_know_what_of_them_makes_no_sense(habits: dict[str, Any], problem: str) -> None:
    assert Habits(**habits).problem == problem


@pytest.mark.parametrize(
    ("outputs", "found"),
    [
        (torch.zeros(2, 28, 28), "(2, 28, 28) torch.float32 on cpu"),
        (torch.zeros(1, 1, 28, 28), "(1, 1, 28, 28) torch.float32 on cpu"),
        (torch.zeros(()), "() torch.float32 on cpu"),
        (torch.zeros(2, 1, 28, 28).double(), "(2, 1, 28, 28) torch.float64 on cpu"),
        (torch.zeros(2, 1, 28, 28).bfloat16(), "(2, 1, 28, 28) torch.bfloat16 on cpu"),
        (torch.zeros(2, 1, 28, 28, device="meta"), "(2, 1, 28, 28) torch.float32 on meta"),
        ([torch.zeros(2, 1, 28, 28)], "a list"),
        (None, "a NoneType"),
    ],
)
def test_what_is_no_output_of_each_image_is_refused_in_one_sentence(
    outputs: Any, found: str
) -> None:
    sentence = (
        f"the network makes {found} of 2 images: "
        f"it has to return a tensor (2, 1, 28, 28) of torch.float32 on cpu"
    )
    with pytest.raises(UsageError, match=f"^{re.escape(sentence)}$"):
        check_outputs(outputs, torch.zeros(2, 3, 32, 32), STUDY.output_shape)


def test_outputs_may_be_bfloat16_where_the_network_is_run_in_it() -> None:
    images = torch.zeros(2, 3, 32, 32)
    for outputs in (torch.zeros(2, 1, 28, 28), torch.zeros(2, 1, 28, 28).bfloat16()):
        check_outputs(outputs, images, STUDY.output_shape, reduced=True)
