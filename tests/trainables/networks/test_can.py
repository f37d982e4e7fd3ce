from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import (
    avg_pool2d,
    conv2d,
    conv_transpose2d,
    interpolate,
    mse_loss,
    pad,
)

from trainables.data.examples import Examples, as_float
from trainables.errors import UsageError
from trainables.export import ENDINGS, export, load_exported
from trainables.networks import can
from trainables.networks.block_curves import BlockCurves, Curves
from trainables.networks.can import AdaptiveNorm, Can, dilations
from trainables.networks.receptive_field import receptive_field
from trainables.networks.registry import build, misfit
from trainables.tasks import STUDY, Task
from trainables.training.adam import Adam
from trainables.training.loop import Training, TrainingConfig

COLOUR = replace(STUDY, output_shape=(3, 32, 32))
GREY = replace(STUDY, output_shape=(1, 32, 32))


@pytest.fixture
def images(train: Examples) -> Tensor:
    return as_float(train.images[:4])


def disturbed(task: Task, depth: int = 4, block: int = 0) -> Can:
    """A network whose weights are no longer those it starts with."""
    network = Can(task, channels=8, depth=depth, steepness=3.0, block=block)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return network.eval()


def test_at_first_it_copies_the_image(images: Tensor) -> None:
    assert torch.equal(build("can", COLOUR)(images), images)
    assert torch.equal(build("can", GREY)(images), images[:, :1])
    four = replace(STUDY, output_shape=(4, 32, 32))
    assert torch.equal(build("can", four)(images)[:, :3], images)


@pytest.mark.parametrize("block", [4, 8])
def test_at_first_blocks_change_nothing(images: Tensor, block: int) -> None:
    network = build("can", COLOUR, block=block)
    assert torch.equal(network(images), images)
    assert torch.equal(network(images[..., :21, :5]), images[..., :21, :5])


def test_without_blocks_it_has_no_weights_for_them() -> None:
    def weights(**chosen: int) -> set[str]:
        return set(build("can", COLOUR, depth=1, **chosen).state_dict())

    assert weights() == weights(block=0) < weights(block=8)


def test_at_first_targets_of_another_range_are_the_image_in_that_range(images: Tensor) -> None:
    wider = replace(COLOUR, low=-2.0, high=3.0)
    torch.testing.assert_close(build("can", wider)(images), 5 * images - 2)


@pytest.mark.parametrize(
    ("depth", "expected"), [(1, [1]), (2, [1, 1]), (4, [1, 2, 4, 1]), (6, [1, 2, 4, 8, 16, 1])]
)
def test_dilations_double_and_the_last_is_1(depth: int, expected: list[int]) -> None:
    assert dilations(depth) == expected


@pytest.mark.parametrize(("depth", "side"), [(1, 3), (2, 5), (3, 9), (4, 17)])
def test_it_sees_what_its_dilations_add_up_to(
    depth: int, side: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Statistics of the whole image, which it sees too, left out."""
    monkeypatch.setattr(can.functional, "instance_norm", lambda images, eps: images)
    monkeypatch.setattr(AdaptiveNorm, "forward", lambda norm, features: features)
    assert receptive_field(disturbed(COLOUR, depth), COLOUR) == (side, side)


def test_through_the_statistics_it_sees_the_whole_image() -> None:
    assert receptive_field(disturbed(COLOUR, depth=2), COLOUR) == (32, 32)


@pytest.mark.parametrize("block", [0, 8])
def test_an_image_has_the_same_output_alone_and_beside_a_brighter_one(
    images: Tensor, block: int
) -> None:
    network = disturbed(COLOUR, block=block)
    together = network(torch.cat([images[:1], images[1:] / 2 + 0.5]))[:1]
    torch.testing.assert_close(together, network(images[:1]), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("block", [0, 8])
def test_it_works_at_another_resolution_than_the_one_it_was_built_for(block: int) -> None:
    network = disturbed(COLOUR, block=block)
    assert network(torch.rand(2, 3, 48, 21)).shape == (2, 3, 48, 21)


def test_an_image_that_is_no_whole_number_of_blocks_is_continued_by_its_last_pixels() -> None:
    network = disturbed(COLOUR, block=4)
    images = torch.rand(2, 3, 21, 13)
    whole = pad(images, (0, 3, 0, 3), mode="replicate")
    assert torch.equal(network(images), network(whole)[..., :21, :13])


def test_blocks_are_counted_from_the_upper_left() -> None:
    """Images that differ by a shift of whole blocks differ in outputs by that shift only."""
    curves = BlockCurves(3, 4)
    with torch.no_grad():
        curves.whole.gains.normal_()
    images = torch.rand(1, 3, 32, 32)

    def difference(pixels: int) -> float:
        shifted = curves(images.roll(pixels, 3)).roll(-pixels, 3)
        return float((shifted - curves(images)).detach().abs().max())

    assert difference(8) < 1e-5 < 1e-2 < difference(2)


def test_it_can_learn_what_depends_on_the_whole_image(train: Examples) -> None:
    """Each image less its mean: no window of 5 × 5 pixels tells that."""
    images = as_float(train.images[:32])
    targets = images - images.mean((2, 3), keepdim=True) + 0.5

    def loss(network: Can) -> Tensor:
        return mse_loss(network(images), targets)

    network = Can(COLOUR, channels=8, depth=2, steepness=3.0)
    before = loss(network).item()
    parameters = list(network.parameters())
    adam = Adam(parameters, learning_rate=1e-2)
    for _ in range(40):
        adam.step(list(torch.autograd.grad(loss(network), parameters)))
    assert loss(network).item() < before / 10


def trained(network: nn.Module, images: Tensor, targets: Tensor) -> float:
    """Train for 40 updates; return the loss that is left, as a share of that of the images."""
    parameters = list(network.parameters())
    adam = Adam(parameters, learning_rate=1e-2)
    for _ in range(40):
        loss = mse_loss(network(images), targets)
        adam.step(list(torch.autograd.grad(loss, parameters)))
    return float(loss.detach() / mse_loss(images, targets))


def test_curves_can_learn_to_round_the_frequencies_of_blocks() -> None:
    """Those below 0.2 to 0, as JPEG does: a dead zone."""
    torch.manual_seed(0)
    images = torch.rand(32, 3, 16, 16)
    curves = Curves(3, 4)
    coefficients = conv2d(images - 0.5, curves.analysis, stride=4)
    kept = torch.where(coefficients.abs() < 0.2, 0, coefficients)
    targets = 0.5 + conv_transpose2d(kept, curves.synthesis, stride=4)
    assert trained(BlockCurves(3, 4), images, targets) < 0.2


def test_norms_can_learn_what_depends_on_the_means_of_blocks() -> None:
    """Each pixel less the means of the blocks around it: those of the image don't tell that."""
    torch.manual_seed(0)
    means = torch.rand(8, 3, 4, 4) - 0.5
    images = interpolate(means, scale_factor=4.0) + 0.1 * torch.randn(8, 3, 16, 16)
    targets = images - interpolate(avg_pool2d(images, 4), scale_factor=4.0, mode="bilinear")
    with_blocks, without = (trained(AdaptiveNorm(3, block), images, targets) for block in (4, 0))
    assert with_blocks < without / 3


@pytest.mark.parametrize("output_shape", [(1, 28, 28), (3, 32, 31), (3, 64, 64)])
def test_what_changes_the_size_does_not_fit(output_shape: tuple[int, int, int]) -> None:
    height, width = output_shape[1:]
    assert misfit(Can, replace(STUDY, output_shape=output_shape)) == (
        f"can makes outputs of the input's size, and these are {height} × {width} for 32 × 32; "
        f"give --model fc"
    )
    assert misfit(Can, COLOUR) == misfit(Can, GREY) == ""


def test_an_image_of_one_pixel_does_not_fit_and_one_of_two_does() -> None:
    def row(pixels: int) -> Task:
        return replace(STUDY, input_shape=(3, 1, pixels), output_shape=(3, 1, pixels))

    assert misfit(Can, row(1)) == (
        "can compares the pixels of an image, and 1 × 1 has one; give --model fc"
    )
    assert misfit(Can, row(2)) == ""
    assert build("can", row(2))(torch.rand(2, 3, 1, 2)).shape == (2, 3, 1, 2)


@pytest.mark.parametrize(
    ("chosen", "sentence"),
    [
        ({"channels": 0}, "channels ≥ 1 must hold, but got 0"),
        ({"depth": 0}, "depth ≥ 1 must hold, but got 0"),
        ({"steepness": 0.0}, "steepness > 0 must hold, but got 0"),
        ({"steepness": -3.0}, "steepness > 0 must hold, but got -3"),
        ({"block": -8}, "block ≥ 0 must hold, but got -8"),
    ],
)
def test_what_makes_no_network_is_refused(chosen: dict[str, float], sentence: str) -> None:
    with pytest.raises(UsageError, match=f"^{sentence}$"):
        build("can", COLOUR, **chosen)


def test_a_resumed_training_gives_the_numbers_of_an_uninterrupted_one(train: Examples) -> None:
    few = Examples(train.images[:64], as_float(train.images[:64]).flip(1))
    config = TrainingConfig(
        model="can",
        task=COLOUR,
        chosen={"channels": 8, "depth": 3},
        learning_rate=1e-2,
        schedule="one-cycle",
        max_epochs=4,
        seed=0,
        batch_size=32,
    )

    def start() -> Training:
        return Training(config, few, few, device=torch.device("cpu"))

    whole, first, second = start(), start(), start()
    losses = [record.train_loss for record in whole.epochs()]
    epochs = first.epochs()
    begun = [next(epochs).train_loss, next(epochs).train_loss]
    second.load_state_dict(first.state_dict())
    assert begun + [record.train_loss for record in second.epochs()] == losses
    for name, weights in second.network.state_dict().items():
        assert torch.equal(weights, whole.network.state_dict()[name])


@pytest.mark.parametrize(("block", "to"), [(0, "onnx"), (8, "onnx"), (8, "torch")])
def test_trained_weights_are_exported_with_their_statistics(
    tmp_path: Path, block: int, to: str
) -> None:
    path = tmp_path / f"network{ENDINGS[to]}"
    task = replace(GREY, input_shape=(3, 20, 32), output_shape=(1, 20, 32))
    network = disturbed(task, depth=2, block=block)
    export(network, task, to, path)
    images = torch.randint(0, 256, (5, 3, 20, 32), dtype=torch.uint8)
    outputs = load_exported(path)(images)
    torch.testing.assert_close(outputs, network(as_float(images)), atol=1e-5, rtol=0)
