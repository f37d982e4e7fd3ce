"""Which pipeline it is: its outputs on a fixed set of probe images, within a tolerance.

Numbers differ in their last digits between processors, so that a hash would not do. Pages compare
runs by this file too, so that PyTorch is imported where it is needed.
"""

from typing import TYPE_CHECKING

import numpy as np

from trainables.tasks import Shape

if TYPE_CHECKING:
    from torch import Tensor

PROBES = 64
VALUES = 1024  # of an output that are kept: of larger ones a fixed choice
SAME_WITHIN = 1e-4  # of the range
BLOCKS = (1, 2, 4, 8)  # pixels of a side: noise of several scales
SEED = 0


def probe_images(input_shape: Shape) -> "Tensor":
    """Return the probe images for inputs of a shape: (64, 3, H, W) uint8, always the same.

    They are noise in blocks of several sizes, made of whole numbers alone, so that no processor
    rounds them otherwise.
    """
    import torch

    generator = torch.Generator().manual_seed(SEED)
    channels, height, width = input_shape
    images = []
    for number in range(PROBES):
        block = BLOCKS[number % len(BLOCKS)]
        size = (channels, -(-height // block), -(-width // block))
        noise = torch.randint(0, 256, size, generator=generator, dtype=torch.uint8)
        scaled = noise.repeat_interleave(block, 1).repeat_interleave(block, 2)
        images.append(scaled[:, :height, :width])
    return torch.stack(images)


def kept(outputs: "Tensor") -> bytes:
    """Return what is kept of a pipeline's outputs on its probe images, as float32 in bytes.

    Args:
        outputs: (64, c, h, w) float32.
    """
    import torch

    values = outputs.flatten(1)
    if values.shape[1] > VALUES:
        generator = torch.Generator().manual_seed(SEED)
        values = values[:, torch.randperm(values.shape[1], generator=generator)[:VALUES]]
    return values.contiguous().numpy().astype("<f4").tobytes()


def is_same(one: bytes, other: bytes, span: float) -> bool:
    """Tell whether two pipelines are one, from what is kept of their outputs.

    Args:
        one: As `kept` returned it.
        other: Likewise.
        span: Of the targets' range.
    """
    first, second = (np.frombuffer(part, "<f4") for part in (one, other))
    if first.shape != second.shape:
        return False
    finite = np.isfinite(first)
    if not np.array_equal(finite, np.isfinite(second)):  # NaN is within no distance of a number
        return False
    differences = np.abs(first[finite] - second[finite])
    return float(differences.max(initial=0)) <= SAME_WITHIN * span
