"""Losses and metrics of a person's own: functions of outputs and targets, a number of each image.

def charbonnier(outputs, targets):  # (N, c, h, w) float32 each
    return ((outputs - targets).square() + 1e-6).sqrt().flatten(1).mean(1)  # (N,)
"""

from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn

from trainables import own_code
from trainables.errors import UsageError
from trainables.memory import is_short_of_memory
from trainables.tasks import Task

IMAGES = 5  # with which one is tried: neither a number of channels nor one image alone
CLOSE = 1e-3  # of a number, by which sums of another order may differ
ONE_OF_EACH = "it has to return a tensor with one floating-point number of each image"


@dataclass(frozen=True)
class OwnFunction:
    """One such function. What it returns is checked at each call.

    Attributes:
        flag: With which it was given: `--loss` or `--metric`.
        name: As `own_code.load` takes it.
        function: What that name stands for.
    """

    flag: str
    name: str
    function: Any

    @classmethod
    def load(cls, flag: str, name: str) -> Self:
        """Import a function. Raises UsageError where that fails, or it is none."""
        try:
            function = own_code.load(name)
        except UsageError as mistake:
            raise UsageError(f"{flag} {mistake}") from mistake.__cause__
        kind = f"a {type(function).__name__}"
        if isinstance(function, type):
            kind = "a class"
        elif callable(function):
            if isinstance(function, nn.Module):
                function.eval()
            return cls(flag, name, function)
        raise UsageError(
            f"{flag} {name} is {kind}: name a function of (outputs, targets), or an object that "
            f"can be called like one"
        )

    @property
    def higher_is_better(self) -> bool:
        """Whether a high number is a good one, where this is a metric: so unless it says no."""
        return bool(getattr(self.function, "higher_is_better", True))

    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return a number of each image (N, c, h, w): (N,).

        Raises UsageError where the function returns something else.
        """
        if isinstance(self.function, nn.Module):
            self.function.to(outputs.device)
        values = self.function(outputs, targets)
        found, wanted = f"a {type(values).__name__}", f"({len(outputs)},), on {outputs.device}"
        if isinstance(values, Tensor):
            if values.shape == (len(outputs),) and values.device == outputs.device:
                if values.is_floating_point():
                    return values
                wanted = "so call .float() on what it returns"
            found = f"{tuple(values.shape)} {values.dtype} on {values.device}"
        raise UsageError(
            f"{self.flag} {self.name} makes {found} of {len(outputs)} images: {ONE_OF_EACH}, "
            f"{wanted}"
        )

    def measure(self, outputs: Tensor, targets: Tensor, task: Task) -> Tensor:
        """Call it as a metric is called: what it raises names it, but for want of memory."""
        try:
            return self(outputs, targets)
        except Exception as error:
            if isinstance(error, UsageError) or is_short_of_memory(error):
                raise
            raise self.raised(error) from error

    def raised(self, error: BaseException) -> UsageError:
        """Return what is said where the function raises an error."""
        return UsageError(f"{self.flag} {self.name} raises {own_code.blamed(error, self.name)}")


def check_loss(name: str, task: Task) -> None:
    """Try a loss of a person's own. Raises UsageError where nothing can be trained with it."""
    function = OwnFunction.load("--loss", name)
    what = f"--loss {name}"
    outputs, targets = _images(task)
    targets[0] = task.low  # a black one, where a division or a root may fail
    for made, of in ((outputs, ""), (targets.clone(), " of outputs that equal their targets")):
        made.requires_grad_()
        values = _tried(function, made, targets)
        if not bool(values.isfinite().all()):
            raise UsageError(
                f"{what} gives NaN or infinity{of}, black images among them: add a small number "
                f"to what it divides by"
            )
        gradient = None
        if values.requires_grad:
            try:
                (gradient,) = torch.autograd.grad(values.sum(), made, allow_unused=True)
            except BaseException as error:  # of a backward of its own, whatever it may be
                raise function.raised(error) from error
        if not of and (gradient is None or not bool(gradient.any())):
            raise UsageError(
                f"{what} has no gradient towards the outputs, so nothing can be trained with it: "
                f"compute it with PyTorch's operations, without detach, rounding or comparisons"
            )
        if gradient is not None and not bool(gradient.isfinite().all()):
            raise UsageError(
                f"{what} has a gradient of NaN or infinity{of}: add a small number below its root"
            )


def check_metric(name: str, task: Task) -> bool:
    """Try a metric of a person's own; return whether a high number is a good one.

    Raises UsageError where it measures nothing.
    """
    function = OwnFunction.load("--metric", name)
    with torch.inference_mode():  # as finalists are measured
        outputs, targets = _images(task)
        _tried(function, outputs, targets)
        of_equal = _tried(function, targets.clone(), targets)
    if not bool(of_equal.isfinite().all()):
        raise UsageError(
            f"--metric {name} gives NaN or infinity of outputs that equal their targets, "
            f"{' × '.join(map(str, task.output_shape))} each: return a finite number for them"
        )
    return function.higher_is_better


def _images(task: Task) -> tuple[Tensor, Tensor]:
    """Make outputs and targets (N, c, h, w) over the task's range."""
    generator = torch.Generator().manual_seed(0)
    pair = torch.rand(2, IMAGES, *task.output_shape, generator=generator)
    outputs, targets = pair * task.span + task.low
    return outputs, targets


def _tried(function: OwnFunction, outputs: Tensor, targets: Tensor) -> Tensor:
    """Call a function. Raises UsageError for what it raises, and where it is none of each image."""
    what, made, wanted = f"{function.flag} {function.name}", outputs.clone(), targets.clone()
    try:
        values = function(outputs, targets)
        alone = function(made[:1].clone(), wanted[:1].clone())
    except UsageError:
        raise
    except BaseException as error:  # also SystemExit and KeyboardInterrupt: the function's
        raise function.raised(error) from error
    for given, now, before in (("outputs", outputs, made), ("targets", targets, wanted)):
        if not torch.equal(now, before):
            raise UsageError(f"{what} changes its {given}: let it work on a copy")
    if not torch.allclose(values[:1], alone, rtol=CLOSE, atol=CLOSE / 100, equal_nan=True):
        raise UsageError(
            f"{what} gives an image another number when others are beside it: {ONE_OF_EACH} alone"
        )
    return values
