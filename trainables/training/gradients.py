"""A batch's loss and gradients: read from the set on the device, and on a CPU in slices that its cache holds."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from trainables.data.examples import Examples
from trainables.networks.end_to_end import as_input
from trainables.training.precision import Precision

Loss = Callable[[Tensor, Tensor], Tensor]


@dataclass(eq=False)
class Gradients:
    """Of one network on one device."""

    network: nn.Module
    loss: Loss
    """Sum over images of their losses, from outputs and targets (N, 1, 28, 28) float32."""
    precision: Precision
    device: torch.device
    memory_format: torch.memory_format
    slice: int | None = None
    """Images that go through the network at once; None takes a batch whole."""
    compiled: bool = False
    """Whether slices (or batches) of the full size go through what torch.compile makes of the network."""
    full_size: int = 0
    """Images of those; others would be compiled anew each, for some seconds."""

    def __post_init__(self) -> None:
        self.parameters = [p for p in self.network.parameters() if p.requires_grad]
        self._fast = self.network
        if self.compiled:
            from trainables.training.compiling import compiled

            self._fast = compiled(self.network)

    def of(
        self, examples: Examples, indices: Tensor, batch_size: int
    ) -> tuple[Tensor, list[Tensor]]:
        """The part of a batch's mean loss that these indices (on the device) have, and its gradients.

        Without indices both are zero: a batch may have fewer images than there are workers.
        """
        total = torch.zeros((), device=self.device)
        sums: list[Tensor] = []
        for part in indices.split(self.slice or len(indices)) if len(indices) else ():
            images, targets = self.read(examples, part)
            loss = self.loss(self.forward(images), targets) / batch_size
            gradients = self.backward(loss)
            # not in place: two parameters may have been given one and the same tensor
            sums = [a + b for a, b in zip(sums, gradients, strict=True)] if sums else gradients
            total += loss.detach()
        return total, sums or [torch.zeros_like(p) for p in self.parameters]

    def read(self, examples: Examples, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Images (N, 3, 32, 32) as float32 in [0, 1], laid out as the network wants them, and their targets."""
        # index_select copies whole images; images[indices] goes pixel by pixel and takes six times as long
        images = as_input(examples.images.index_select(0, indices), self.memory_format)
        return images, examples.targets.index_select(0, indices)

    def forward(self, images: Tensor) -> Tensor:
        """The network's outputs in float32."""
        # not in validation: that would compile it once more, for a third of the work of a training step
        fast = self.network.training and len(images) == self.full_size
        with self.precision.autocast(self.device):
            outputs: Tensor = (self._fast if fast else self.network)(images)
        return outputs.float()

    def backward(self, loss: Tensor) -> list[Tensor]:
        """The gradients of a loss, in the order of the parameters."""
        return list(torch.autograd.grad(loss, self.parameters))
