"""Adam without `torch.optim.Optimizer`, whose first use imports torch._dynamo, which takes 2 s.

The update itself is PyTorch's own fused kernel, so the numbers are those of
`torch.optim.Adam(fused=True)`.
"""

from typing import Any

import torch
from torch import Tensor
from torch.optim.adam import adam

PIECES = 28  # of all parameters on a GPU; a launch takes 36 tensors: biases are beside them


class Adam:
    """Kingma and Ba 2015, "Adam: a method for stochastic optimization".

    The constants are PyTorch's defaults. The moments lie where the parameters lie.

    Weight decay is decoupled from the gradients (Loshchilov and Hutter 2019, "Decoupled weight
    decay regularization"; AdamW): each update first shrinks the parameters by the learning rate
    times `weight_decay`.

    A learning rate that changes is a float32 tensor () on the parameters' device, filled anew from
    outside: a step that was recorded as a CUDA graph reads it there.
    """

    def __init__(
        self,
        parameters: list[Tensor],
        *,
        learning_rate: float | Tensor,
        weight_decay: float = 0.0,
    ) -> None:
        self.parameters = parameters
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.first_moments = [torch.zeros_like(p) for p in parameters]
        self.second_moments = [torch.zeros_like(p) for p in parameters]
        self._piece_elements = _piece_elements(parameters)
        # The number of the step, once for each piece
        self._counters = [torch.zeros(len(self._cut([p])), device=p.device) for p in parameters]

    @torch.no_grad()
    def step(self, gradients: list[Tensor]) -> None:
        """Move each parameter by its gradient, given in the order of the parameters."""
        laid_out = [_laid_out_like(p, g) for p, g in zip(self.parameters, gradients, strict=True)]
        adam(
            self._cut(self.parameters),
            self._cut(laid_out),
            self._cut(self.first_moments),
            self._cut(self.second_moments),
            [],
            [step for counter in self._counters for step in counter.unbind()],
            fused=True,
            amsgrad=False,
            beta1=0.9,
            beta2=0.999,
            lr=self.learning_rate,
            weight_decay=self.weight_decay,
            decoupled_weight_decay=self.weight_decay != 0,
            eps=1e-8,
            maximize=False,
        )

    def state_dict(self) -> dict[str, Any]:
        """Return moments and steps, as tensors that `torch.load(weights_only=True)` reads back."""
        steps = [counter[0].clone() for counter in self._counters]
        return {"first": self.first_moments, "second": self.second_moments, "steps": steps}

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Copy the saved moments in, keeping this optimiser's device."""
        own = {"first": self.first_moments, "second": self.second_moments, "steps": self._counters}
        for name, tensors in own.items():
            for mine, saved in zip(tensors, state[name], strict=True):
                mine.copy_(saved)

    def _cut(self, tensors: list[Tensor]) -> list[Tensor]:
        """Return the pieces in which a GPU takes tensors, in the order of memory; a CPU's whole."""
        if self._piece_elements is None:
            return tensors
        flat = [t.detach().as_strided((t.numel(),), (1,), t.storage_offset()) for t in tensors]
        return [piece for tensor in flat for piece in tensor.split(self._piece_elements)]


def _piece_elements(parameters: list[Tensor]) -> int | None:
    """Return how many elements a piece has: None takes tensors whole.

    PyTorch's kernel gives one of a GPU's many multiprocessors 65,536 elements.
    """
    if not parameters[0].is_cuda:
        return None
    return max(1024, -(-sum(p.numel() for p in parameters) // PIECES))


def _laid_out_like(parameter: Tensor, gradient: Tensor) -> Tensor:
    """Return the gradient in its parameter's memory layout.

    The fused kernel walks memory in order whatever the strides: channels_last must meet
    channels_last.
    """
    if gradient.stride() == parameter.stride():
        return gradient
    return torch.empty_like(parameter).copy_(gradient)
