"""What a pipeline makes of many images: the targets that networks learn."""

from collections.abc import Callable

import torch
from torch import Tensor

CHUNK = 1000  # images per call; 10,000 take several times as long each: nothing stays in the cache

Pipeline = Callable[[Tensor], Tensor]
"""(N, 3, 32, 32) uint8 → (N, 1, 28, 28) float32."""


def make_targets(pipeline: Pipeline, images: Tensor) -> Tensor:
    """Run a pipeline over many images, a chunk at a time; shapes are those of Pipeline."""
    return torch.cat([pipeline(part) for part in images.split(CHUNK)])
