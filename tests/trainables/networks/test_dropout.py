import pytest
import torch
from torch import nn

from trainables.networks.dropout import Dropout
from trainables.networks.registry import build


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize("share", [0.01, 0.25, 0.5, 0.9])
def test_the_share_is_zeroed_and_the_mean_stays(share: float) -> None:
    ones = torch.ones(1_000_003)
    outputs = Dropout(share).train()(ones)
    zeroed = (outputs == 0).double().mean().item()
    assert zeroed == pytest.approx(share, abs=4 * (share * (1 - share) / 1e6) ** 0.5)
    assert outputs.double().mean().item() == pytest.approx(1, abs=0.02)
    assert outputs.unique().tolist() == [0, pytest.approx(1 / (1 - share), rel=1e-4)]


def test_neighbours_are_dropped_independently() -> None:
    kept = (Dropout(0.5).train()(torch.ones(400_000)) > 0).double()
    for distance in (1, 2, 3, 4, 8):
        both = (kept[distance:] * kept[:-distance]).mean().item()
        assert both == pytest.approx(0.25, abs=0.005)


def test_each_call_and_each_seed_draws_anew() -> None:
    layer, images = Dropout(0.5).train(), torch.ones(1000)
    first, second = layer(images), layer(images)
    torch.manual_seed(0)
    assert not torch.equal(first, second)
    assert torch.equal(first, layer(images))


def test_gradients_go_where_activations_went() -> None:
    images = torch.rand(100, requires_grad=True)
    outputs = Dropout(0.5).train()(images)
    (gradient,) = torch.autograd.grad(outputs.sum(), images)
    assert torch.equal(gradient * images, outputs)


@pytest.mark.parametrize("shape", [(3,), (2, 5), (2, 3, 5, 7)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_shape_type_and_memory_layout_stay(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    images = torch.ones(shape, dtype=dtype)
    if len(shape) == 4:
        images = images.contiguous(memory_format=torch.channels_last)
    outputs = Dropout(0.3).train()(images)
    assert (outputs.shape, outputs.dtype, outputs.stride()) == (
        images.shape,
        images.dtype,
        images.stride(),
    )


def test_in_evaluation_and_without_a_share_nothing_happens() -> None:
    images = torch.rand(10)
    assert Dropout(0.5).eval()(images) is images
    assert Dropout(0.0).train()(images) is images


def test_a_tiny_share_still_drops_something() -> None:
    outputs = Dropout(1e-7).train()(torch.ones(2**22))
    assert 0 < (outputs == 0).sum() < 200


def test_everything_can_be_dropped() -> None:
    assert not Dropout(1.0).train()(torch.ones(1000)).any()


def test_the_networks_use_it() -> None:
    layers = [layer for name in ("fc", "cnn") for layer in build(name, dropout=0.5).modules()]
    dropouts = [layer for layer in layers if isinstance(layer, nn.Dropout)]
    assert len(dropouts) == 3
    assert all(isinstance(layer, Dropout) for layer in dropouts)
