from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from tests.trainables.affine_pipelines import inverted, map_of, sharpened, task_of, transposed
from trainables.networks.receptive_field import (
    Occlusion,
    Sight,
    fraction_in_sight,
    receptive_field,
    sight,
    strongest_inputs,
)
from trainables.networks.registry import build
from trainables.networks.separable import Separable
from trainables.pipelines.study import reference, without_flips
from trainables.tasks import STUDY, Task


@pytest.mark.parametrize(
    ("model", "window"),
    [("cnn", (13, 13)), ("fc", (32, 32)), ("separable", (32, 32))],
    ids=["cnn", "fc", "separable"],
)
def test_the_receptive_field_is_what_the_architecture_allows(
    model: str, window: tuple[int, int]
) -> None:
    assert receptive_field(build(model), STUDY) == window


def test_height_and_width_are_told_apart() -> None:
    assert receptive_field(
        nn.Sequential(nn.Conv2d(3, 2, (5, 1)), nn.Conv2d(2, 1, (1, 5)), nn.ReLU()), STUDY
    ) == (5, 5)
    assert receptive_field(nn.Conv2d(3, 1, (5, 3), padding=(0, 1)), STUDY) == (5, 3)


def thin_cnn() -> nn.Module:
    """The CNN's convolutions with one channel each: it sees as far, in a hundredth of the time."""
    return nn.Sequential(
        nn.Conv2d(3, 1, 4, padding=1), *(nn.Conv2d(1, 1, 4, padding=1) for _ in range(3))
    )


@pytest.mark.parametrize(
    ("row", "column", "rows", "columns"),
    # Four kernels of 4, each with one pixel of padding before
    [(14, 3, slice(10, 23), slice(0, 12)), (0, 27, slice(0, 9), slice(23, 32))],
)
def test_an_output_pixel_of_the_cnn_depends_on_its_neighbours_and_nothing_else(
    row: int, column: int, rows: slice, columns: slice
) -> None:
    each_pixel = torch.eye(32 * 32, dtype=torch.bool).view(-1, 32, 32)
    asked = torch.tensor([row]).expand(1024), torch.tensor([column]).expand(1024)
    expected = torch.zeros(32, 32, dtype=torch.bool)
    expected[rows, columns] = True
    seen = Occlusion(thin_cnn(), STUDY).changes(*asked, each_pixel)
    assert torch.equal(seen.view(32, 32), expected)


def flipped_sideways(images: Tensor) -> Tensor:
    return without_flips(images).flip(-1)


@pytest.mark.parametrize(
    ("network", "pipeline", "lowest", "highest"),
    [
        (lambda: build("fc"), reference, 1, 1),
        (thin_cnn, reference, 0, 0.1),
        (thin_cnn, flipped_sideways, 0.2, 0.6),
        (thin_cnn, without_flips, 1, 1),
    ],
    ids=["fc", "thin cnn", "thin cnn, one flip", "thin cnn, no flip"],
)
def test_a_flip_is_out_of_sight_for_the_cnn_alone(
    network, pipeline, lowest: float, highest: float
) -> None:
    assert lowest <= fraction_in_sight(network(), STUDY, map_of(pipeline, STUDY)) <= highest


def test_the_pipelines_own_network_sees_what_matters_though_its_window_is_small() -> None:
    network = Separable.from_map(map_of(reference, STUDY), STUDY)
    assert max(receptive_field(network, STUDY)) < 6
    assert fraction_in_sight(network, STUDY, map_of(reference, STUDY)) == 1
    assert fraction_in_sight(network, STUDY, map_of(without_flips, STUDY)) < 0.1


class Faint(nn.Module):
    """Sees every pixel, all but the first with a weight too small to show in a sum of float32."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(1e-12))

    def forward(self, images: Tensor) -> Tensor:
        return images[..., :1, :1] + self.weight * images


def test_a_pixel_with_a_weight_that_training_can_raise_is_in_sight() -> None:
    task = task_of(inverted)
    assert fraction_in_sight(Faint(), task, map_of(inverted, task)) == 1


def test_looking_leaves_a_network_in_the_mode_it_was_in() -> None:
    network = build("fc", dropout=0.5)
    receptive_field(network, STUDY)
    assert network.training


class Hidden(nn.Module):
    """A weight times some of the image, in ways that gradients don't show."""

    def __init__(self, how: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.how = how
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, images: Tensor) -> Tensor:
        return self.weight * self.how(images[:, :1, 2:30, 2:30])


def table(grey: Tensor) -> Tensor:
    return torch.linspace(0, 1, 256)[(255 * grey).long()]


def brightest_neighbour(grey: Tensor) -> Tensor:
    """The place of the brightest of three pixels beside each other."""
    beside = nn.functional.pad(grey, (1, 1)).unfold(3, 3, 1)
    return beside.argmax(dim=4).float()


def in_place(grey: Tensor) -> Tensor:
    return grey.mul_(0.5)


@pytest.mark.parametrize(
    ("how", "window"),
    [
        (Tensor.round, (1, 1)),
        (Tensor.detach, (1, 1)),
        (table, (1, 1)),
        (brightest_neighbour, (1, 3)),
        (in_place, (1, 1)),
    ],
)
def test_what_a_network_sees_is_found_where_no_gradient_shows_it(
    how: Callable[[Tensor], Tensor], window: tuple[int, int]
) -> None:
    assert receptive_field(Hidden(how), STUDY) == window


def test_a_network_whose_output_never_changes_sees_nothing() -> None:
    blind = Hidden(torch.zeros_like)
    assert receptive_field(blind, STUDY) is None
    assert sight(blind, STUDY, map_of(reference, STUDY)) is None


def test_colours_of_an_output_count_alike() -> None:
    """Its first channel shows one pixel, its last the row."""
    task = Task(pipeline="x", input_shape=(3, 8, 8), output_shape=(2, 8, 8))

    class Colours(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            grey = images[:, 0]
            return torch.stack([grey, grey.mean(dim=2, keepdim=True).expand(-1, 8, 8)], dim=1)

    assert receptive_field(Colours(), task) == (1, 8)


def test_occluding_draws_nothing_from_the_global_random_state() -> None:
    before = torch.get_rng_state()
    network = build("separable")
    after = torch.get_rng_state()
    receptive_field(network, STUDY)
    assert torch.equal(torch.get_rng_state(), after)
    assert not torch.equal(before, after)


def test_sight_is_the_window_and_the_fraction_that_lies_in_it() -> None:
    assert sight(build("separable"), STUDY, map_of(reference, STUDY)) == Sight(1.0, 32, 32)


@pytest.mark.parametrize(
    ("pipeline", "rows", "columns"),
    [
        (reference, [30, 0], [16, 30]),
        (inverted, [1, 27], [13, 1]),
        (sharpened, [1, 27], [13, 1]),
    ],
    ids=["study", "invert", "rank 2"],
)
def test_the_strongest_input_is_where_the_pipeline_moves_a_pixel_from(
    pipeline, rows: list[int], columns: list[int]
) -> None:
    ends = (-4.0, 5.0) if pipeline is sharpened else (0.0, 1.0)
    task = task_of(pipeline, 32, *ends)
    outputs = torch.tensor([1, 27]), torch.tensor([13, 1])
    found = strongest_inputs(map_of(pipeline, task), task, *outputs)
    assert found.tolist() == [rows, columns]


def test_the_strongest_input_is_found_in_a_matrix_too() -> None:
    task = task_of(transposed, 8)
    places = torch.tensor([0, 3]), torch.tensor([7, 5])
    found = strongest_inputs(map_of(transposed, task), task, *places)
    assert found.tolist() == [[7, 5], [0, 3]]
