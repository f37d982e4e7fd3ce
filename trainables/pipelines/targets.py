"""What a pipeline makes of many images: the targets that networks learn."""

from collections.abc import Callable

import torch
from torch import Tensor

CHUNK = 1000  # images per call: of 10,000 at once nothing stays in the cache, which takes several times as long

Pipeline = Callable[[Tensor], Tensor]
"""(N, 3, 32, 32) uint8 → (N, 1, 28, 28) float32."""


def make_targets(pipeline: Pipeline, images: Tensor) -> Tensor:
    """Run `pipeline` over images (N, 3, 32, 32) uint8, a chunk at a time; returns (N, 1, 28, 28) float32."""
    return torch.cat([pipeline(part) for part in images.split(CHUNK)])
