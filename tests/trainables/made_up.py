"""What tests are made of: VGG16 with seeded random weights, a few photographs with targets."""

from dataclasses import replace

import torch

from trainables.data import photos
from trainables.data.examples import Examples
from trainables.losses.loss_settings import CONVOLUTIONS, NORMALISATIONS
from trainables.losses.vgg16_weights import Vgg16
from trainables.networks.registry import find, misfit
from trainables.pipelines.calling import make_targets
from trainables.pipelines.study import reference
from trainables.tasks import STUDY, Task


def vgg16(through: int = 28, normalisation: str = "imagenet") -> Vgg16:
    """Scaled so that activations neither grow nor fade from layer to layer (He et al. 2015)."""
    generator = torch.Generator().manual_seed(0)
    tensors = {}
    for layer, (into, out) in CONVOLUTIONS.items():
        if layer <= through:
            deviation = (2 / (9 * into)) ** 0.5
            tensors[f"features.{layer}.weight"] = (
                torch.randn(out, into, 3, 3, generator=generator) * deviation
            )
            tensors[f"features.{layer}.bias"] = torch.randn(out, generator=generator) / 10
    return Vgg16(tensors, NORMALISATIONS[normalisation], "made up")


def photographs(count: int, split: str = "test") -> Examples:
    """The first photographs of a split with their targets, without making those of all others."""
    images = torch.from_numpy(getattr(photos.load(), split)[:count])
    return Examples(images, make_targets(reference, images), source="photos", split=split)


def task_for(model: str) -> Task:
    """The study; for a network that keeps the size, one in grey of that size."""
    return replace(STUDY, output_shape=(1, 32, 32)) if misfit(find(model), STUDY) else STUDY
