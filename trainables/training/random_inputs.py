"""Random images, targets and VGG16 weights: the time they take does not depend on values."""

import torch

from trainables.data.examples import Examples
from trainables.losses.vgg16 import CONVOLUTIONS, NORMALISATIONS, Vgg16
from trainables.pipelines.study import IMAGE_SHAPE, TARGET_SHAPE


def examples(count: int) -> Examples:
    """Make so many images with unrelated targets, on the CPU."""
    return Examples(
        torch.randint(0, 256, (count, *IMAGE_SHAPE), dtype=torch.uint8),
        torch.rand(count, *TARGET_SHAPE),
    )


def vgg16() -> Vgg16:
    """Make weights under which activations neither grow nor fade (He et al. 2015)."""
    tensors = {}
    for layer, (into, out) in CONVOLUTIONS.items():
        tensors[f"features.{layer}.weight"] = torch.randn(out, into, 3, 3) * (2 / (9 * into)) ** 0.5
        tensors[f"features.{layer}.bias"] = torch.zeros(out)
    return Vgg16(tensors, NORMALISATIONS["imagenet"], "random")
