"""What a trial needs, counted on the meta device, against real training on a CPU and against numbers by hand."""

from dataclasses import replace
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from tests.trainables.made_up import vgg16
from trainables.data.examples import Examples
from trainables.losses.loss_settings import Perceptual
from trainables.losses.vgg16 import CONVOLUTIONS
from trainables.networks.fc import FC
from trainables.networks.separable import Separable
from trainables.training.alive import Alive, AsOnGpu, peak_bytes
from trainables.training.footprint import Footprint, footprint
from trainables.training.loop import Training, TrainingConfig
from trainables.training.precision import Precision

CPU = torch.device("cpu")
EXAMPLE_BYTES = 3 * 32 * 32 + 4 * 28 * 28
FC_PARAMETERS, CNN_PARAMETERS = 494_480, 135_361
ORDER_BYTES = 8  # an image's place in the epoch
SLACK_BYTES = (
    512  # sums of losses and the like; the CUDA allocator rounds each tensor up by as much
)
SMALL = Perceptual(layers=(2, 7), layer_weights=(1.0, 0.5), size=32)


def config(model: str = "fc", **more: Any) -> TrainingConfig:
    return TrainingConfig(
        **{"model": model, "learning_rate": 1e-3, "max_epochs": 1, "seed": 0, **more}
    )


def found(
    settings: TrainingConfig, train_images: int = 2000, validation_images: int = 1000, **more: Any
) -> Footprint:
    found = footprint(
        settings, train_images=train_images, validation_images=validation_images, **more
    )
    assert found is not None
    return found


class SavesMuch(Separable):
    """Its activations grow and shrink, and only some of them are kept for backward."""

    defaults: ClassVar = replace(Separable.defaults, cuda_graph=False)

    def forward(self, images: Tensor) -> Tensor:
        tripled = torch.cat([images, images * 2, images.sigmoid()], dim=1)
        return super().forward(tripled.unflatten(1, (3, 3)).mean(dim=1)).exp() + images.std()


class ReadsNumbers(Separable):
    """Asks for a number, which the meta device has not."""

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images) * (2 if images.max().item() > 1 else 1)


class WithConstants(Separable):
    """Weights that are not trained, and a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.rows.requires_grad_(False)
        self.register_buffer("constants", torch.zeros(1000))


@pytest.fixture
def examples(train: Examples) -> Examples:
    return Examples(train.images[:8], train.targets[:8])


MUCH = f"{__name__}:SavesMuch"


def as_on_a_gpu(training: Training) -> Training:
    """Its batches whole, and laid out as there."""
    training.gradients.slice = None
    training.gradients.memory_format = training.precision.memory_format
    training.network.to(memory_format=training.precision.memory_format)
    return training


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("model", ["fc", "cnn", "separable", MUCH])
def test_a_step_needs_what_a_real_one_holds_at_its_peak(
    examples: Examples, model: str, precision: str
) -> None:
    settings = config(model, precision=precision, batch_size=8)
    training = as_on_a_gpu(Training(settings, examples, examples, device=CPU))
    need = found(settings, 8, 8)
    assert (
        abs(peak_bytes(lambda: training.train_epoch(1)) - need.step_bytes - 8 * ORDER_BYTES)
        <= SLACK_BYTES
    )
    assert (
        abs(peak_bytes(training._validate) - need.validation_bytes - 8 * ORDER_BYTES) <= SLACK_BYTES
    )


@pytest.mark.parametrize(("model", "precision"), [("cnn", "float32"), ("separable", "bfloat16")])
def test_so_does_a_step_through_vgg16(examples: Examples, model: str, precision: str) -> None:
    settings = config(model, precision=precision, batch_size=8, loss="perceptual", perceptual=SMALL)
    training = as_on_a_gpu(Training(settings, examples, examples, device=CPU, vgg=vgg16(through=7)))
    need = found(settings, 8, 8)
    expected = max(need.step_bytes, need.validation_bytes) + need.pass_bytes
    peaks = peak_bytes(lambda: training.train_epoch(1)), peak_bytes(training._validate)
    assert abs(max(peaks) - expected - 8 * ORDER_BYTES) <= SLACK_BYTES


def test_the_fully_connected_networks_bytes_by_hand() -> None:
    need = found(config(dropout=0.0, batch_size=100), 45_000, 5000)
    assert need.images_bytes == 50_000 * EXAMPLE_BYTES
    assert need.network_bytes == 4 * 4 * FC_PARAMETERS  # weights, two moments, best weights
    assert need.vgg_bytes == need.pass_bytes == 0
    # input, target, hidden, output; and the gradient of the second layer, before that of the first
    kept = 100 * 4 * (3072 + 784 + 128 + 784)
    assert kept + 4 * 128 * 784 < need.step_bytes < kept + 4 * FC_PARAMETERS
    beside = max(
        need.validation_bytes, need.remainder_bytes
    )  # a graph keeps the step's memory to itself
    assert need.total_bytes == need.images_bytes + need.network_bytes + need.step_bytes + beside
    assert need.least_bytes == need.total_bytes


def test_beside_a_recorded_step_validation_and_the_last_batch_have_memory_of_their_own() -> None:
    few, many = found(config("cnn"), 2048, 8), found(config("cnn"), 2048 + 255, 8)
    assert few.remainder_bytes == 0
    assert (
        many.remainder_bytes
        == found(config("cnn", batch_size=255), 255, 8).step_bytes
        > many.validation_bytes
    )
    assert (
        many.least_bytes - few.least_bytes
        == 255 * EXAMPLE_BYTES + many.remainder_bytes - few.validation_bytes
    )
    own = found(config(f"{__name__}:SavesMuch"), 2048 + 255, 8)  # of one's own, so not recorded
    assert own.least_bytes == own.images_bytes + own.network_bytes + max(
        own.step_bytes, own.validation_bytes
    )


def test_what_is_not_trained_has_no_moments() -> None:
    trained = 3 + 32 * 28
    assert found(config(f"{__name__}:WithConstants")).network_bytes == 4 * (
        2 * (trained + 28 * 32 + 1000) + 2 * trained
    )


def test_each_image_more_is_its_own_bytes_more() -> None:
    before, after = found(config(), 2000, 1000), found(config(), 2007, 1000)
    assert after.total_bytes - before.total_bytes == 7 * EXAMPLE_BYTES
    assert found(config(), 2000, 1009).images_bytes - before.images_bytes == 9 * EXAMPLE_BYTES


def test_a_batch_of_convolutions_needs_so_much_for_each_image() -> None:
    steps = [
        found(config("cnn", precision="float32", batch_size=size)).step_bytes
        for size in (256, 512, 768)
    ]
    assert steps[2] - steps[1] == steps[1] - steps[0]
    # input, target, output; convolutions 1 to 3 and their ReLUs, of which only the ReLUs' outputs are kept; and where
    # the first backward is at its peak, one gradient of the largest comes in beside the next
    kept = 4 * (3072 + 784 + 784 + 64 * (31**2 + 30**2 + 29**2))
    assert kept * 256 < steps[1] - steps[0] < (kept + 2 * 4 * 64 * 31**2) * 256


def test_a_batch_larger_than_the_training_images_is_as_large_as_they_are() -> None:
    assert found(config(batch_size=10**6), 2000) == found(config(batch_size=2000), 2000)


def test_validation_takes_a_thousand_at_most_and_may_be_what_needs_most() -> None:
    few = found(config("cnn", batch_size=8), 2000, 1000)
    assert (
        found(config("cnn", batch_size=8), 2000, 5000).validation_bytes
        == few.validation_bytes
        > few.step_bytes
    )
    assert found(config("cnn", batch_size=8), 2000, 500).validation_bytes < few.validation_bytes


def test_dropout_keeps_a_byte_for_each_element_and_not_a_number_as_on_a_cpu() -> None:
    kept = {}
    for dropout in (0.0, 0.5):
        network = FC(dropout).to("meta")
        images = torch.empty(10, 3, 32, 32, device="meta")
        with Alive() as alive, AsOnGpu(Precision("float32", "")):
            outputs = network(images)
        kept[dropout] = alive.bytes
        assert outputs.shape == (10, 1, 28, 28)
    assert kept[0.5] - kept[0.0] == 10 * 128


@pytest.mark.parametrize("inplace", [False, True])
def test_no_dropout_happens_in_validation(inplace: bool) -> None:
    images = torch.ones(10)
    with AsOnGpu(Precision("float32", "")):
        assert nn.functional.dropout(images, 0.5, False, inplace) is images
        assert nn.functional.dropout(images, 0.0, True) is images


@torch.no_grad()
def test_views_of_weights_are_not_taken_for_each_other_though_one_lies_where_the_last_did() -> None:
    weight = nn.Parameter(torch.empty(50, 10, device="meta"))
    with AsOnGpu(Precision("bfloat16", "")):
        for rows in range(1, 50):
            product = torch.mm(weight[:rows], weight[:10])
            assert (product.shape, product.dtype) == ((rows, 10), torch.bfloat16)


def test_auto_is_bfloat16_where_that_pays() -> None:
    for model, pays in (("fc", "float32"), ("separable", "float32"), ("cnn", "bfloat16")):
        assert found(config(model)) == found(config(model, precision=pays))
    assert (
        found(config("cnn")).step_bytes < 0.6 * found(config("cnn", precision="float32")).step_bytes
    )


@pytest.mark.parametrize(
    ("precision", "bytes_each"), [("auto", 2), ("bfloat16", 2), ("float32", 4)]
)
def test_the_perceptual_loss_adds_vgg16_and_one_pass(precision: str, bytes_each: int) -> None:
    plain = found(config(precision=precision))
    perceptual = found(config(precision=precision, loss="perceptual", perceptual=SMALL))
    layers = [(2, 64), (64, 64), (64, 128), (128, 128)]
    in_float32 = 4 * sum(
        9 * into * out + out for into, out in layers
    )  # what the targets are multiplied by
    in_bfloat16 = 2 * sum(9 * into * out for into, out in layers[1:]) if bytes_each == 2 else 0
    assert perceptual.vgg_bytes == in_float32 + in_bfloat16
    assert perceptual.pass_bytes > 256 * 64 * 32**2 * bytes_each
    assert perceptual.least_bytes == replace(plain, graph=False).least_bytes + perceptual.vgg_bytes
    assert perceptual.total_bytes == perceptual.least_bytes + perceptual.pass_bytes


def test_a_pass_through_vgg16_does_not_grow_with_the_batch() -> None:
    small = Perceptual(layers=(2,), layer_weights=(1.0,), size=224)  # 32 images a pass
    passes = [
        found(config(loss="perceptual", perceptual=small, batch_size=size), 96, 32)
        for size in (32, 96)
    ]
    peaks = [need.pass_bytes + max(need.step_bytes, need.validation_bytes) for need in passes]
    assert peaks[1] - peaks[0] < 0.01 * peaks[0]


def test_workers_divide_the_batch_and_each_has_all_images() -> None:
    alone, each = (
        found(config("cnn", batch_size=512), 2000, 5000, workers=count) for count in (1, 4)
    )
    assert each.images_bytes == alone.images_bytes
    assert each.network_bytes == alone.network_bytes
    assert each.step_bytes == found(config("cnn", batch_size=128), 2000, 1000).step_bytes
    assert (
        found(config("cnn", batch_size=509), 2000, workers=4).step_bytes == each.step_bytes
    )  # one has a whole share
    assert found(config("cnn"), 2000, 1600, workers=4).validation_bytes < each.validation_bytes


def test_workers_add_gradients_up_in_one_message_beside_them() -> None:
    alone, each = found(config(batch_size=1)), found(config(batch_size=2), workers=2)
    assert each.step_bytes > 2 * 4 * FC_PARAMETERS > alone.step_bytes


def test_a_network_that_asks_for_a_number_can_not_be_known() -> None:
    assert (
        footprint(config(f"{__name__}:ReadsNumbers"), train_images=100, validation_images=100)
        is None
    )


def test_a_network_that_there_is_none_of_is_told() -> None:
    with pytest.raises(ValueError, match="there is no network 'mlp'"):
        footprint(config("mlp"), train_images=100, validation_images=100)


def test_nothing_is_drawn_from_the_random_state() -> None:
    before = torch.get_rng_state()
    found(config("fc", dropout=0.5))
    assert torch.equal(torch.get_rng_state(), before)


def test_views_count_once_and_what_was_there_before_not_at_all() -> None:
    before = torch.zeros(1000)
    with Alive() as alive:
        made = before[10:].view(-1, 10) + 1
        view = made.T
        assert alive.bytes == 990 * 4
        del made
        assert alive.bytes == 990 * 4
        del view
    assert (alive.bytes, alive.peak_bytes) == (0, 990 * 4)


def test_vgg16_has_the_layers_that_are_counted() -> None:
    assert sum(9 * into * out + out for into, out in CONVOLUTIONS.values()) == 14_714_688
