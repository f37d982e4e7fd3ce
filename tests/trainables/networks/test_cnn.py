import torch
from torch import nn

from trainables.networks.base import parameter_count
from trainables.networks.registry import build


def test_its_four_convolutions_go_from_32_to_31_to_30_to_29_to_28_pixels() -> None:
    images = torch.rand(1, 3, 32, 32)
    shapes = []
    for layer in build("cnn").layers:
        images = layer(images)
        if isinstance(layer, nn.Conv2d):
            shapes.append(tuple(images.shape[1:]))
    assert shapes == [(64, 31, 31), (64, 30, 30), (64, 29, 29), (1, 28, 28)]


def test_it_has_135361_parameters() -> None:
    assert (
        parameter_count(build("cnn"))
        == (3 * 16 + 1) * 64 + 2 * (64 * 16 + 1) * 64 + 64 * 16 + 1
        == 135_361
    )


def test_its_dropout_is_the_one_asked_for() -> None:
    layers = build("cnn", dropout=0.3).layers
    assert [layer.p for layer in layers if isinstance(layer, nn.Dropout)] == [0.3, 0.3]
