"""Images as they are stored, uint8, and as everything computes with them, float32."""

import torch
from torch import Tensor


def as_float(images: Tensor) -> Tensor:
    """Return uint8 images of any shape as float32 in [0, 1], in a new tensor."""
    return images.to(torch.float32).mul_(1 / 255)
