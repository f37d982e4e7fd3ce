"""The contract of every registered loss, and the perceptual one against the formula in float64."""

import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import conv2d, interpolate, mse_loss
from torchvision.models.vgg import cfgs, make_layers

from tests.trainables import made_up
from trainables.data.examples import Examples
from trainables.losses.loss_registry import LOSSES
from trainables.losses.loss_settings import Perceptual
from trainables.losses.perceptual import PerceptualLoss
from trainables.losses.squared_error import squared_error
from trainables.losses.vgg16_weights import Vgg16, load
from trainables.tasks import STUDY
from trainables.training.gradients import Loss
from trainables.training.loop import Training, TrainingConfig
from trainables.training.precision import Precision

CPU = torch.device("cpu")
SMALL = Perceptual(layers=(2, 7), layer_weights=(1.0, 0.5), size=32)


@pytest.fixture(scope="module")
def whole() -> Vgg16:
    return made_up.vgg16()


@pytest.fixture(scope="module")
def trained(shared_data: Path) -> Vgg16:
    return load(str(shared_data / "vgg16" / "vgg16_features.safetensors"), normalisation="features")


def built(settings: Perceptual, vgg: Vgg16, precision: str = "float32") -> PerceptualLoss:
    return PerceptualLoss(
        settings, STUDY, vgg, precision=Precision(precision, "as asked"), device=CPU
    )


def pictures(count: int) -> tuple[Tensor, Tensor]:
    return torch.rand(count, 1, 28, 28), torch.rand(count, 1, 28, 28)


def value_and_gradient(loss: Any, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    outputs = outputs.clone().requires_grad_()
    value = loss(outputs, targets)
    (gradient,) = torch.autograd.grad(value, outputs)
    return value.detach(), gradient


class Formula:
    """The loss as it is defined, in float64: the mean over the batch of all terms."""

    def __init__(self, settings: Perceptual, vgg: Vgg16) -> None:
        self.settings = settings
        self.layers = make_layers(cfgs["D"]).double()
        self.layers.load_state_dict(
            {k.removeprefix("features."): v for k, v in vgg.tensors.items()}, strict=False
        )
        self.mean, self.std = (
            torch.tensor(v).double().view(3, 1, 1) for v in vars(vgg.normalisation).values()
        )

    def activations(self, images: Tensor) -> list[Tensor]:
        images = images.double().repeat(1, 3, 1, 1)
        images = interpolate(images, [self.settings.size] * 2, mode="bilinear")
        images, seen = (images - self.mean) / self.std, []
        for layer in self.layers[: max(self.settings.layers) + 1]:
            images = layer(images)
            seen.append(images.clone())  # torchvision's ReLU writes over what it gets
        return [seen[layer] for layer in self.settings.layers]

    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        total = self.settings.mse_weight * mse_loss(outputs.double(), targets.double())
        pairs = zip(self.activations(outputs), self.activations(targets), strict=True)
        for weight, (ours, theirs) in zip(self.settings.layer_weights, pairs, strict=True):
            distances = (ours - theirs).square().sum(dim=(1, 2, 3)) / ours[0].numel()
            total = total + weight * distances.mean()
        return total


def assert_is_the_formula(settings: Perceptual, vgg: Vgg16) -> None:
    """Compare values and most images' gradients: of pixels that tie in a pooling, one is chance."""
    count = 5
    outputs, targets = pictures(count)
    value, gradient = value_and_gradient(built(settings, vgg), outputs, targets)
    exact, exact_gradient = value_and_gradient(Formula(settings, vgg), outputs, targets)
    assert value.item() / count == pytest.approx(exact.item(), rel=1e-4)
    differences = (gradient / count - exact_gradient).flatten(1).norm(
        dim=1
    ) / exact_gradient.flatten(1).norm(dim=1)
    assert differences.median() <= 1e-4
    assert differences.max() <= 1e-2


@pytest.mark.parametrize(
    ("settings", "normalisation"),
    [
        (Perceptual(size=32), "imagenet"),
        (Perceptual(size=32, layers=(0,), layer_weights=(3.0,), mse_weight=0.0), "features"),
        (Perceptual(size=37, layers=(2, 7), layer_weights=(1.0, 0.5)), "features"),
        (
            Perceptual(size=32, layers=(2, 5, 12), layer_weights=(0, 0.25, 2.0), mse_weight=100.0),
            "imagenet",
        ),
        (Perceptual(size=32, layers=(7, 10), layer_weights=(1.0, 0.0)), "imagenet"),
    ],
    ids=["all layers", "first layer", "odd size", "own weights", "last weight zero"],
)
def test_value_and_gradient_are_those_of_the_formula(
    settings: Perceptual, normalisation: str
) -> None:
    vgg = made_up.vgg16(max(settings.layers), normalisation)
    assert_is_the_formula(settings, vgg)


def test_value_and_gradient_are_those_of_the_formula_with_trained_weights(trained: Vgg16) -> None:
    assert_is_the_formula(Perceptual(size=32), trained)


class Network(torch.nn.Module):
    """A 5 × 5 filter that is wrong by so much: the identity for 0."""

    def __init__(self, wrong: float) -> None:
        super().__init__()
        self.kernel = torch.nn.Parameter(wrong * torch.randn(1, 1, 5, 5))
        self.bias = torch.nn.Parameter(torch.full((1,), wrong))
        with torch.no_grad():
            self.kernel[0, 0, 2, 2] += 1

    def forward(self, images: Tensor) -> Tensor:
        return conv2d(images, self.kernel, self.bias, padding=2)


def what_is_learnt_from(
    loss: Any, network: torch.nn.Module, targets: Tensor
) -> tuple[float, Tensor]:
    """A loss and its gradient towards the network's weights."""
    value = loss(network(targets), targets)
    gradients = torch.autograd.grad(value, network.parameters())
    return value.item(), torch.cat([gradient.flatten() for gradient in gradients])


@pytest.mark.parametrize("wrong", [0.1, 0.001], ids=["early", "nearly right"])
@pytest.mark.parametrize("weights", ["whole", "trained"])
def test_bfloat16_teaches_a_network_what_the_formula_does(
    weights: str, wrong: float, request: pytest.FixtureRequest
) -> None:
    """However near outputs are to targets: large activations must not cancel in few digits."""
    vgg = request.getfixturevalue(weights)
    network, settings = Network(wrong), Perceptual(size=32)
    targets = made_up.photographs(4).targets
    value, gradient = what_is_learnt_from(built(settings, vgg, "bfloat16"), network, targets)
    exact, exact_gradient = what_is_learnt_from(Formula(settings, vgg), network, targets)
    assert value / len(targets) == pytest.approx(exact, rel=3e-3)
    assert (gradient / len(targets) - exact_gradient).norm() <= 5e-3 * exact_gradient.norm()


@pytest.fixture(params=LOSSES)
def loss(request: pytest.FixtureRequest, train: Examples, whole: Vgg16) -> Loss:
    """Each loss that is registered, as a training makes it."""
    config = TrainingConfig(
        model="separable",
        learning_rate=1e-2,
        max_epochs=1,
        seed=0,
        loss=request.param,
        perceptual=SMALL,
    )
    return Training(config, train.first(1), train.first(1), device=CPU, vgg=whole).gradients.loss


def test_a_loss_is_a_number_above_zero_in_float32(loss: Loss) -> None:
    value = loss(*pictures(2))
    assert (value.shape, value.dtype) == ((), torch.float32)
    assert value > 0


def test_outputs_that_are_the_targets_cost_nothing_and_leave_nothing_to_gain(loss: Loss) -> None:
    outputs, _ = pictures(2)
    value, gradient = value_and_gradient(loss, outputs, outputs)
    assert value.item() == 0
    assert not gradient.any()


def test_the_losses_of_shards_add_up_to_that_of_the_batch(loss: Loss) -> None:
    outputs, targets = pictures(7)
    value, gradient = value_and_gradient(loss, outputs, targets)
    parts = [value_and_gradient(loss, outputs[rank::3], targets[rank::3]) for rank in range(3)]
    assert sum(part.item() for part, _ in parts) == pytest.approx(value.item(), rel=1e-5)
    torch.testing.assert_close(parts[1][1], gradient[1::3], rtol=1e-3, atol=1e-7)


def test_a_step_against_the_gradient_lowers_a_loss(loss: Loss) -> None:
    outputs, targets = pictures(4)
    value, gradient = value_and_gradient(loss, outputs, targets)
    nearer = outputs - 0.01 * gradient / gradient.abs().max()
    assert loss(nearer, targets) < value


def test_the_mse_loss_is_the_mean_squared_error_of_each_image_summed() -> None:
    outputs, targets = pictures(7)
    expected = 7 * mse_loss(outputs, targets).item()
    assert squared_error(outputs, targets).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_the_passes_that_a_batch_is_divided_into_change_nothing(whole: Vgg16, batch: int) -> None:
    loss = built(SMALL, whole)
    outputs, targets = pictures(5)
    value, gradient = value_and_gradient(loss, outputs, targets)
    loss.batch = batch
    divided, divided_gradient = value_and_gradient(loss, outputs, targets)
    assert divided.item() == pytest.approx(value.item(), rel=1e-5)
    torch.testing.assert_close(divided_gradient, gradient, rtol=1e-3, atol=1e-7)


def test_larger_images_go_through_in_smaller_passes(whole: Vgg16) -> None:
    batches = [built(Perceptual(size=size), whole).batch for size in (32, 224, 2000)]
    assert batches[0] > batches[1] > batches[2] == 1


def test_only_the_outputs_are_differentiated(whole: Vgg16) -> None:
    outputs, targets = (images.requires_grad_() for images in pictures(2))
    built(SMALL, whole)(outputs, targets).backward()
    assert outputs.grad is not None
    assert targets.grad is None
    assert all(
        not tensor.requires_grad and tensor.grad is None for tensor in whole.tensors.values()
    )


def test_without_gradients_the_value_is_the_same(whole: Vgg16) -> None:
    loss = built(SMALL, whole)
    outputs, targets = pictures(2)
    value, _ = value_and_gradient(loss, outputs, targets)
    assert not loss(outputs, targets).requires_grad
    assert loss(outputs, targets).item() == pytest.approx(value.item(), rel=1e-6)


def test_layers_behind_the_last_weight_are_not_needed(whole: Vgg16) -> None:
    outputs, targets = pictures(2)
    settings = Perceptual(size=32, layer_weights=(1.0, 1.0, 0.0, 0.0, 0.0))
    exact, _ = value_and_gradient(Formula(settings, whole), outputs, targets)
    assert built(settings, made_up.vgg16(7))(outputs, targets).item() / 2 == pytest.approx(
        exact.item(), rel=1e-4
    )
    only_mse = built(Perceptual(layer_weights=(0.0,) * 5, mse_weight=2.0), made_up.vgg16(0))
    assert only_mse(outputs, targets) == 2 * squared_error(outputs, targets)


def stripes(across: int) -> Tensor:
    """Two pixels white, two black; lines along dimension `across`'s other."""
    line = (torch.arange(28) // 2 % 2).float()
    return line.view(*(28 if dim == across else 1 for dim in range(2))).expand(28, 28)[None, None]


def responses(vgg: Vgg16, image: Tensor) -> Tensor:
    """How far each of the first layer's 64 channels is from what it says to a flat grey: (64,)."""
    settings = Perceptual(layers=(0,), layer_weights=(1.0,), mse_weight=0.0, size=56)
    flat = torch.full_like(image, image.mean())
    kernel, bias = vgg.tensors["features.0.weight"], vgg.tensors["features.0.bias"]
    answers = []
    for channel in torch.eye(64):
        alone = {
            "features.0.weight": kernel * channel.view(64, 1, 1, 1),
            "features.0.bias": bias * channel,
        }
        loss = built(settings, Vgg16(alone, vgg.normalisation, "one channel"))
        answers.append(loss(image, flat))
    return torch.stack(answers).sqrt()


def test_vertical_stripes_excite_other_channels_than_horizontal_ones(trained: Vgg16) -> None:
    vertical, horizontal = (responses(trained, stripes(across)) for across in (1, 0))
    strongest = [set(answers.topk(8).indices.tolist()) for answers in (vertical, horizontal)]
    assert strongest[0] != strongest[1]
    assert (vertical > 3 * horizontal).sum() >= 5
    assert (horizontal > 3 * vertical).sum() >= 5


class Short:
    """Stands for a pass through VGG16 where there is memory for so many images at once."""

    def __init__(self, loss: PerceptualLoss, images: int) -> None:
        self.images = images
        self.one_pass = loss._one_pass
        self.held: list[weakref.ref[Tensor]] = []

    def __call__(
        self, outputs: Tensor, targets: Tensor, *, differentiate: bool
    ) -> tuple[Tensor, Tensor | None]:
        assert all(activations() is None for activations in self.held), "memory is still held"
        if len(outputs) > self.images:
            activations = torch.empty(1)
            self.held.append(weakref.ref(activations))
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return self.one_pass(outputs, targets, differentiate=differentiate)


def test_a_pass_for_which_memory_is_short_is_halved_for_good_and_gives_the_same(
    whole: Vgg16, monkeypatch: pytest.MonkeyPatch
) -> None:
    loss = built(SMALL, whole)
    outputs, targets = pictures(24)
    value, gradient = value_and_gradient(loss, outputs, targets)
    short = Short(loss, images=7)
    monkeypatch.setattr(loss, "_one_pass", short)
    for _ in range(2):
        halved, halved_gradient = value_and_gradient(loss, outputs, targets)
        assert loss.batch == 6
        assert halved.item() == pytest.approx(value.item(), rel=1e-5)
        torch.testing.assert_close(halved_gradient, gradient, rtol=1e-3, atol=1e-7)
    assert len(short.held) == 2  # 24 images, 12, and then never more than 6


def test_one_image_for_which_memory_is_short_is_an_error(
    whole: Vgg16, monkeypatch: pytest.MonkeyPatch
) -> None:
    loss = built(SMALL, whole)
    monkeypatch.setattr(loss, "_one_pass", Short(loss, images=0))
    with pytest.raises(RuntimeError, match="can't allocate memory"):
        loss(*pictures(3))
    assert loss.batch == 1
