"""A batch's loss and gradients: on a CPU in slices that its cache holds, and through torch.compile
where that is asked for.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from trainables.data.examples import Examples
from trainables.errors import UsageError
from trainables.gpu_kernels import kernels_run
from trainables.losses.loss_registry import Loss
from trainables.networks.base import as_input, check_outputs
from trainables.tasks import Shape
from trainables.training.precision import Precision


@dataclass(eq=False)
class Gradients:
    """One network's on one device.

    Attributes:
        output_shape: Of an image's output.
        slice: Images that go through the network at once; None takes a batch whole.
        compiled: Whether slices (or batches) of the full size go through torch.compile's network.
        full_size: Images of those; others would be compiled anew each, for some seconds.
    """

    network: nn.Module
    loss: Loss
    precision: Precision
    device: torch.device
    memory_format: torch.memory_format
    output_shape: Shape
    slice: int | None = None
    compiled: bool = False
    full_size: int = 0

    def __post_init__(self) -> None:
        self.parameters: list[Tensor] = [p for p in self.network.parameters() if p.requires_grad]
        if not self.parameters:
            raise UsageError("the network has no parameter that requires a gradient")
        # By the size of the batch: on a GPU each would take a kernel to fill, and a product three
        self._factors: dict[int, Tensor] = {}
        self._fused_read = kernels_run(self.device)
        self._fast = compiled(self.network) if self.compiled else self.network

    def of(
        self, examples: Examples, indices: Tensor, batch_size: int
    ) -> tuple[Tensor, list[Tensor]]:
        """Return the sum of these images' losses, and their part of the mean loss's gradients.

        Args:
            examples: The set that the batch is taken from.
            indices: Which of its images, (n,) int64 on the device. Without any, loss and gradients
                are zero: a batch may have fewer images than there are workers.
            batch_size: Images of the whole batch, over all workers.
        """
        if not len(indices):
            nothing = torch.zeros((), device=self.device)
            return nothing, [torch.zeros_like(p) for p in self.parameters]
        total, sums = torch.empty(0), list[Tensor]()
        for part in indices.split(self.slice or len(indices)):
            images, targets = self.read(examples, part)
            loss = self.loss(self.forward(images), targets)
            gradients = self.backward(loss, batch_size)
            total = total + loss.detach() if sums else loss.detach()
            # Not in place: two parameters may have been given one and the same tensor
            sums = [a + b for a, b in zip(sums, gradients, strict=True)] if sums else gradients
        return total, sums

    def read(self, examples: Examples, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Return images as the network wants them, and their targets."""
        if self._fused_read:
            from trainables import step_kernels  # here: Triton takes a second

            return step_kernels.read(examples.images, examples.targets, indices, self.memory_format)
        # index_select copies whole images; images[indices] goes pixel by pixel, six times as long
        images = as_input(examples.images.index_select(0, indices), self.memory_format)
        return images, examples.targets.index_select(0, indices)

    def forward(self, images: Tensor) -> Tensor:
        """Return the network's outputs in float32. Raises UsageError where they are no outputs."""
        # Not in validation: that would compile it once more, for a third of a training step's work
        fast = self.network.training and len(images) == self.full_size
        with self.precision.autocast(self.device):
            outputs: Tensor = (self._fast if fast else self.network)(images)
        # One of another shape may be broadcast against the targets, and train
        check_outputs(outputs, images, self.output_shape, reduced=self.precision.name == "bfloat16")
        return outputs.float()

    def backward(self, loss: Tensor, batch_size: int) -> list[Tensor]:
        """Return the gradients of a loss / `batch_size`, in the order of the parameters."""
        if self.device.type == "cpu":
            # With a tensor as its start `grad` imports SymPy: up to 1 s of a trial's first epoch
            return list(torch.autograd.grad(loss * (1 / batch_size), self.parameters))
        if batch_size not in self._factors:
            self._factors[batch_size] = torch.full_like(loss, 1 / batch_size)
        return list(torch.autograd.grad(loss, self.parameters, self._factors[batch_size]))


def compile_problem() -> str:
    """Say why this machine can't compile; empty where it can.

    A GPU's kernels are started by code for the CPU, so that a GPU needs the compiler too.
    """
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        get_cpp_compiler()
    except InvalidCxxCompiler:
        return "no C++ compiler here; install g++"
    return ""


def compiled(network: nn.Module) -> nn.Module:
    """Return what torch.compile makes of a network: compiled at its first call, by this process."""
    import torch._inductor.config as settings

    # By default every process starts a pool; a trial has its share of the cores
    settings.compile_threads = 1
    # Isolated, or the ninth trial of a process would find its class compiled too often, and train
    # without it and without a word; PyTorch's overloads lack that argument
    return torch.compile(  # type: ignore[call-overload, no-any-return]
        network, dynamic=False, isolate_recompiles=True
    )
