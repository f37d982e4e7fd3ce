"""Whether this project's own kernels for a GPU, which are written in Triton, can run."""

from functools import cache

import torch
from torch import Tensor

from trainables.errors import first_line


def kernels_run(device: torch.device) -> bool:
    """Tell whether `step_kernels` and `perceptual_kernels` run on a device: never on a CPU."""
    return device.type == "cuda" and _triton_works()


def fused_step(inputs: Tensor) -> bool:
    """Tell whether a network is to take `step_kernels`: in training, where it is not compiled."""
    return (
        inputs.is_cuda
        and torch.is_grad_enabled()
        and not torch.compiler.is_compiling()
        and kernels_run(inputs.device)
    )


@cache
def _triton_works() -> bool:
    """Try a kernel. Triton needs a C compiler, for the code that starts its kernels.

    Where it has none, or lacks something else, a line says so, and PyTorch's operations are used.
    """
    try:
        from trainables import step_kernels  # here: Triton takes a second

        outputs = torch.ones(1, 1, 1, 1, device="cuda")
        step_kernels.SquaredError.apply(outputs, outputs)
    except Exception as error:  # whatever Triton raises
        print(f"training without this project's own GPU kernels, so slower: {first_line(error)}")
        return False
    return True
