"""Adam without `torch.optim.Optimizer`, whose first use imports torch._dynamo, which takes 2 s.

The update itself is PyTorch's own fused kernel, so the numbers are those of
`torch.optim.Adam(fused=True)`.
"""

from typing import Any

import torch
from torch import Tensor
from torch.optim.adam import adam


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
        self.steps = [torch.zeros((), device=p.device) for p in parameters]

    @torch.no_grad()
    def step(self, gradients: list[Tensor]) -> None:
        """Move each parameter by its gradient, given in the order of the parameters."""
        adam(
            self.parameters,
            [_laid_out_like(p, g) for p, g in zip(self.parameters, gradients, strict=True)],
            self.first_moments,
            self.second_moments,
            [],
            self.steps,
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
        return {"first": self.first_moments, "second": self.second_moments, "steps": self.steps}

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Copy the saved moments in, keeping this optimiser's device."""
        for name, tensors in self.state_dict().items():
            for mine, saved in zip(tensors, state[name], strict=True):
                mine.copy_(saved)


def _laid_out_like(parameter: Tensor, gradient: Tensor) -> Tensor:
    """Return the gradient in its parameter's memory layout.

    The fused kernel walks memory in order whatever the strides: channels_last must meet
    channels_last.
    """
    if gradient.stride() == parameter.stride():
        return gradient
    return torch.empty_like(parameter).copy_(gradient)
