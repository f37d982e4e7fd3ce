import subprocess
import sys
from typing import Any

import pytest
import torch
from torchvision.models import VGG16_Weights
from torchvision.models.vgg import cfgs, make_layers

from tests.paths import ROOT
from trainables.losses.loss_settings import (
    CONVOLUTIONS,
    NORMALISATIONS,
    POOLED,
    PUBLISHED,
    URLS,
    Perceptual,
)


def test_the_names_and_settings_of_losses_and_weights_are_there_without_pytorch() -> None:
    modules = "trainables.losses.loss_settings"
    code = f"import sys, {modules}; print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"


def test_the_settings_are_those_of_the_definition() -> None:
    settings = Perceptual()
    assert (settings.layers, settings.layer_weights) == ((2, 7, 14, 21, 28), (1.0,) * 5)
    assert (settings.mse_weight, settings.size) == (1.0, 224)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"layers": ()}, "at least one, .*but got none"),
        ({"layers": (2, 7, 14, 21, 27)}, r"choose from 0, 2, 5,.* but got 2, 7, 14, 21, 27"),
        ({"layers": (2, 7, 14, 28, 21)}, "ascending, .*but got 2, 7, 14, 28, 21"),
        ({"layers": (2, 7, 14, 21, 21)}, "each named once"),
        ({"layers": (2, 7)}, "layer_weights must be as many as layers, 2, but got 5"),
        ({"mse_weight": 0.0, "layer_weights": (0.0,) * 5}, "only zeros"),
    ],
)
def test_a_setting_that_makes_no_sense_is_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Perceptual(**settings)


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
    assert URLS.keys() == PUBLISHED.keys()
    for weights in VGG16_Weights:
        transforms, known = (
            weights.transforms(),
            NORMALISATIONS[PUBLISHED[weights.name]],
        )
        assert known.mean == pytest.approx(
            transforms.mean, abs=1e-4
        )  # torchvision has one more digit
        assert known.std == pytest.approx(transforms.std, rel=1e-4)
