"""Cards against numbers counted by hand, and the roofline from rates that a test sets."""

import itertools
import types
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from analysis.timing import limits
from analysis.timing.limits import Card, Rates, card, image_bytes, limit_sec, measure
from tests.trainables.affine_pipelines import map_of
from trainables.networks.registry import build
from trainables.networks.separable import Separable
from trainables.pipelines.study import reference
from trainables.tasks import STUDY, Task
from trainables.training import matrix_rate

CPU = torch.device("cpu")
MIB = 2**20
IMAGE_BYTES = image_bytes(STUDY.input_shape, STUDY.output_shape)
SLOW_MEMORY = Rates(matrix_gflops=1e9, bandwidth_gb_per_sec=1.0)
SLOW_MATRIX = Rates(matrix_gflops=1.0, bandwidth_gb_per_sec=1e9)

# Four convolutions of 4 × 4 with one pixel of padding make 32 → 31 → 30 → 29 → 28
CNN_FLOPS = 2 * 16 * (31**2 * 3 * 64 + 30**2 * 64 * 64 + 29**2 * 64 * 64 + 28**2 * 64)
CNN_PARAMETERS = 16 * (3 * 64 + 64 * 64 + 64 * 64 + 64) + 64 + 64 + 64 + 1
# Channels times image, image times columns, rows times that
SEPARABLE_FLOPS = 2 * (3 * 32 * 32 + 32 * 32 * 28 + 28 * 32 * 28)


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def test_the_card_of_the_fully_connected_network() -> None:
    assert card(build("fc"), STUDY) == Card(494_480, 987_136, 4 * 494_480, 32, 32)


def test_the_card_of_the_convolutional_network() -> None:
    assert card(build("cnn"), STUDY) == Card(CNN_PARAMETERS, CNN_FLOPS, 4 * CNN_PARAMETERS, 13, 13)
    assert (CNN_PARAMETERS, CNN_FLOPS) == (135_361, 235_706_368)


def test_the_card_of_the_separable_network() -> None:
    assert card(build("separable"), STUDY) == Card(1795, SEPARABLE_FLOPS, 4 * 1795, 32, 32)
    assert SEPARABLE_FLOPS == 113_664


def test_the_pipelines_own_factors_cost_as_much_and_see_less() -> None:
    found = card(Separable.from_map(map_of(reference, STUDY), STUDY), STUDY)
    assert (found.parameters, found.flops_per_image, found.weight_bytes) == (
        1795,
        SEPARABLE_FLOPS,
        4 * 1795,
    )
    assert max(found.receptive_height, found.receptive_width) < 6


def test_a_card_tells_height_and_width_of_the_field_of_view_apart() -> None:
    found = card(nn.Conv2d(3, 1, (5, 3), padding=(0, 1)), STUDY)
    assert (found.receptive_height, found.receptive_width) == (5, 3)


class Lookup(Separable):
    """Looks every value up in a table, and asks for a number: neither autograd nor a device without
    memory can follow."""

    def __init__(self) -> None:
        super().__init__(STUDY)
        self.table = nn.Parameter(torch.linspace(0, 1, 256))

    def forward(self, images: Tensor) -> Tensor:
        outputs = super().forward(self.table[(255 * images).long()])
        return outputs * float(outputs.numel() > 0) if outputs.sum().item() else outputs


def test_the_card_of_a_lookup_has_everything_that_others_have() -> None:
    found = card(Lookup(), STUDY)
    assert found == Card(1795 + 256, SEPARABLE_FLOPS, 4 * (1795 + 256), 32, 32)


def test_a_card_follows_the_task() -> None:
    task = Task(pipeline="x", input_shape=(3, 12, 10), output_shape=(3, 6, 5))
    multiplied = 3 * 3 * 12 * 10 + 3 * 12 * 10 * 5 + 3 * 6 * 12 * 5
    assert card(build("separable", task), task).flops_per_image == 2 * multiplied
    assert card(build("separable", task), task).receptive_height == 12
    assert card(build("separable", task), task).receptive_width == 10
    assert image_bytes(task.input_shape, task.output_shape) == 3 * 12 * 10 + 4 * 3 * 6 * 5


def test_weights_that_are_not_trained_are_read_all_the_same() -> None:
    network = Separable(STUDY)
    network.channels.requires_grad_(False)
    assert card(network, STUDY).parameters == 1792
    assert card(network, STUDY).weight_bytes == 4 * 1795


def test_making_a_card_leaves_the_network_as_it_was() -> None:
    network = build("cnn").eval()
    weights = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    card(network, STUDY)
    assert not network.training
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, weights[name])


def test_an_image_is_read_as_bytes_and_written_as_floats() -> None:
    assert IMAGE_BYTES == 3 * 32 * 32 + 4 * 28 * 28 == 6208


def test_where_memory_is_slow_the_limit_is_moving_the_images_and_the_weights_once() -> None:
    one = Card(
        parameters=1,
        flops_per_image=1000,
        weight_bytes=5_000_000,
        receptive_height=1,
        receptive_width=1,
    )
    assert limit_sec(one, SLOW_MEMORY, 1, IMAGE_BYTES) == pytest.approx((6208 + 5_000_000) / 1e9)
    assert limit_sec(one, SLOW_MEMORY, 10_000, IMAGE_BYTES) == pytest.approx(
        (62_080_000 + 5_000_000) / 1e9
    )


def test_where_arithmetic_is_slow_the_limit_is_that_of_all_images() -> None:
    one = Card(
        parameters=1,
        flops_per_image=1000,
        weight_bytes=5_000_000,
        receptive_height=1,
        receptive_width=1,
    )
    assert limit_sec(one, SLOW_MATRIX, 10_000, IMAGE_BYTES) == pytest.approx(10_000 * 1000 / 1e9)


def test_the_limit_is_the_longer_of_the_two_and_not_their_sum() -> None:
    one = Card(
        parameters=0, flops_per_image=6208, weight_bytes=0, receptive_height=1, receptive_width=1
    )
    assert limit_sec(one, Rates(1.0, 1.0), 1000, IMAGE_BYTES) == pytest.approx(6208e3 / 1e9)
    assert limit_sec(one, Rates(0.5, 1.0), 1000, IMAGE_BYTES) == pytest.approx(2 * 6208e3 / 1e9)
    assert limit_sec(one, Rates(1.0, 0.25), 1000, IMAGE_BYTES) == pytest.approx(4 * 6208e3 / 1e9)


def test_without_a_card_the_limit_is_moving_the_images() -> None:
    assert limit_sec(None, Rates(1e-9, 2.0), 1000, IMAGE_BYTES) == pytest.approx(6208e3 / 2e9)


@pytest.mark.parametrize("model", ["fc", "cnn", "separable"])
@pytest.mark.parametrize("images", [1, 1000])
def test_no_network_can_be_faster_than_its_images_are_moved(model: str, images: int) -> None:
    moving = images * 6208 / 1e9
    found = card(build(model), STUDY)
    assert limit_sec(found, SLOW_MEMORY, images, IMAGE_BYTES) >= moving
    assert limit_sec(found, Rates(1e30, 1.0), images, IMAGE_BYTES) == pytest.approx(
        moving + found.weight_bytes / 1e9
    )


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matrix_rate, "MATRIX_SIZE", {"cpu": 64})
    monkeypatch.setattr(limits, "BUFFER_MIB", {"cpu": 2})


@pytest.mark.usefixtures("small")
def test_the_rates_are_those_of_the_best_try_after_an_untimed_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    product, copied = [0.001, 4.0, 2.0, 8.0, 3.0, 5.0], [0.001, 0.5, 0.9, 0.7, 0.25, 0.6]
    moments = iter(
        [0.0, *itertools.accumulate(sec for one in product + copied for sec in (one, 1.0))]
    )
    monkeypatch.setattr(
        matrix_rate, "time", types.SimpleNamespace(perf_counter=lambda: next(moments))
    )
    found = measure(CPU, "float32")
    assert found.matrix_gflops == pytest.approx(2 * 64**3 / 2.0 / 1e9)
    assert found.bandwidth_gb_per_sec == pytest.approx((2 * MIB + 2 * MIB) / 0.25 / 1e9)


class Products(TorchDispatchMode):
    """Notes the number format of every matrix product."""

    def __init__(self) -> None:
        super().__init__()
        self.formats: set[torch.dtype] = set()

    def __torch_dispatch__(
        self, function: Any, _: Any, arguments: Any = (), more: Any = None
    ) -> Any:
        if function is torch.ops.aten.mm.default:
            self.formats.add(arguments[0].dtype)
        return function(*arguments, **(more or {}))


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    ("precision", "multiplied"),
    [("float32", torch.float32), ("uint8", torch.float32), ("bfloat16", torch.bfloat16)],
)
def test_the_matrix_rate_is_that_of_the_subjects_precision(
    precision: str, multiplied: torch.dtype
) -> None:
    with Products() as products:
        measure(CPU, precision)
    assert products.formats == {multiplied}
