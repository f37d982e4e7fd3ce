"""VGG16 with seeded random weights, for tests that need no trained ones."""

import torch

from trainables.losses.vgg16 import CONVOLUTIONS, NORMALISATIONS, Vgg16


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
