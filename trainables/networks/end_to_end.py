"""A network on images as they are stored: the one place where uint8 becomes what networks take."""

import torch
from torch import Tensor, nn

from trainables.pixels import as_float


def as_input(
    images: Tensor, memory_format: torch.memory_format = torch.contiguous_format
) -> Tensor:
    """Return uint8 images (N, 3, 32, 32) as networks take them, float32, laid out as asked."""
    return as_float(images).contiguous(memory_format=memory_format)


class EndToEnd(nn.Module):
    """A network behind the conversion that its inputs need.

    Args:
        network: From (N, 3, 32, 32) float32 in [0, 1] to (N, 1, 28, 28) float32.
        slice_size: Images that go through the network at once, which is then laid out
            channels_last; None takes all and leaves the network as it is.
    """

    def __init__(self, network: nn.Module, slice_size: int | None = None) -> None:
        super().__init__()
        self.network = network.to(memory_format=torch.channels_last) if slice_size else network
        self.slice_size = slice_size

    def forward(self, images: Tensor) -> Tensor:
        """Return the outputs (N, 1, 28, 28) float32 for images (N, 3, 32, 32) uint8."""
        if self.slice_size is None:
            outputs: Tensor = self.network(as_input(images))
            return outputs
        parts = images.split(self.slice_size)
        return torch.cat([self.network(as_input(part, torch.channels_last)) for part in parts])
