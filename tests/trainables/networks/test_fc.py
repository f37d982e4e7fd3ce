import pytest
import torch
from torch import nn

from trainables.networks.base import parameter_count
from trainables.networks.dropout import Dropout
from trainables.networks.fc import Linear
from trainables.networks.registry import build


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_it_has_two_linear_layers_of_3072_to_128_to_784(dropout: float) -> None:
    network = build("fc", dropout=dropout)
    linear = [layer for layer in network.layers if isinstance(layer, nn.Linear)]
    assert [(layer.in_features, layer.out_features) for layer in linear] == [
        (3072, 128),
        (128, 784),
    ]
    assert parameter_count(network) == 494_480


def test_dropout_lies_between_the_linear_layers_when_above_zero() -> None:
    plain, dropping = (
        [type(layer) for layer in build("fc", dropout=dropout).layers] for dropout in (0.0, 0.4)
    )
    assert plain == [nn.Flatten, Linear, Linear, nn.Sigmoid]
    assert dropping == [nn.Flatten, Linear, Dropout, Linear, nn.Sigmoid]
    assert build("fc", dropout=0.4).layers[2].p == 0.4


def test_its_outputs_lie_between_0_and_1_whatever_it_is_shown() -> None:
    outputs = build("fc")(100 * torch.randn(4, 3, 32, 32))
    assert 0 <= outputs.min() < 0.1
    assert 0.9 < outputs.max() <= 1


def test_an_output_pixel_keeps_its_place() -> None:
    network = build("fc")
    with torch.no_grad():
        network.layers[-2].weight.zero_()
        network.layers[-2].bias.copy_(torch.linspace(-3, 3, 784))
    outputs = network(torch.rand(1, 3, 32, 32))[0, 0]
    torch.testing.assert_close(outputs, torch.linspace(-3, 3, 784).sigmoid().view(28, 28))
