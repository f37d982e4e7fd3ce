import pytest
import torch
from torch import Tensor, nn

from trainables.linear import factors
from trainables.networks.receptive_field import dependence, fraction_in_sight, receptive_field
from trainables.networks.registry import build
from trainables.networks.separable import Separable
from trainables.pipelines.study import reference, without_flips


@pytest.mark.parametrize(
    ("model", "window"),
    [("cnn", (13, 13)), ("fc", (32, 32)), ("separable", (32, 32))],
    ids=["cnn", "fc", "separable"],
)
def test_the_receptive_field_is_what_the_architecture_allows(
    model: str, window: tuple[int, int]
) -> None:
    assert receptive_field(build(model)) == window


def test_height_and_width_are_told_apart() -> None:
    assert receptive_field(
        nn.Sequential(nn.Conv2d(3, 2, (5, 1)), nn.Conv2d(2, 1, (1, 5)), nn.ReLU())
    ) == (5, 5)
    assert receptive_field(nn.Conv2d(3, 1, (5, 3), padding=(0, 1))) == (5, 3)


def test_an_output_pixel_of_the_cnn_depends_on_its_neighbours_and_nothing_else() -> None:
    seen = dependence(build("cnn"), 14, 3)
    expected = torch.zeros(32, 32, dtype=torch.bool)
    expected[14 - 4 : 14 + 9, 0 : 3 + 9] = (
        True  # four kernels of 4, each with one pixel of padding before
    )
    assert torch.equal(seen, expected)


def thin_cnn() -> nn.Module:
    """The CNN's convolutions with one channel each: it sees as far, in a hundredth of the time."""
    return nn.Sequential(
        nn.Conv2d(3, 1, 4, padding=1), *(nn.Conv2d(1, 1, 4, padding=1) for _ in range(3))
    )


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
    assert lowest <= fraction_in_sight(network(), factors(pipeline)) <= highest


def test_the_pipelines_own_network_sees_what_matters_though_its_window_is_small() -> None:
    network = Separable.from_factors(factors(reference))
    assert max(receptive_field(network)) < 6
    assert fraction_in_sight(network, factors(reference)) == 1
    assert fraction_in_sight(network, factors(without_flips)) < 0.1


def test_looking_leaves_a_network_in_the_mode_it_was_in() -> None:
    network = build("fc", dropout=0.5)
    receptive_field(network)
    assert network.training
