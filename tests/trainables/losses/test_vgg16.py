import pytest
import torch
from torchvision.models import VGG16_Weights
from torchvision.models.vgg import cfgs, make_layers

from trainables.losses.loss_settings import (
    CONVOLUTIONS,
    NORMALISATIONS,
    POOLED,
    PUBLISHED,
    PUBLISHED_NORMALISATIONS,
    URLS,
)


def test_the_convolutions_are_those_of_torchvision() -> None:
    layers = make_layers(cfgs["D"])
    theirs = {
        i: (v.in_channels, v.out_channels)
        for i, v in enumerate(layers)
        if isinstance(v, torch.nn.Conv2d)
    }
    assert theirs == CONVOLUTIONS
    pools = [i for i, v in enumerate(layers) if isinstance(v, torch.nn.MaxPool2d)]
    assert [i - 2 for i in pools[:-1]] == list(POOLED)


def test_the_published_weights_are_those_of_torchvision() -> None:
    assert {weights.name: weights.url for weights in VGG16_Weights} == URLS
    assert tuple(URLS) == PUBLISHED
    for weights in VGG16_Weights:
        transforms, known = (
            weights.transforms(),
            NORMALISATIONS[PUBLISHED_NORMALISATIONS[weights.name]],
        )
        assert known.mean == pytest.approx(
            transforms.mean, abs=1e-4
        )  # torchvision has one more digit
        assert known.std == pytest.approx(transforms.std, rel=1e-4)
