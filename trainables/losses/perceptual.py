"""Distances between VGG16's activations, beside the mean squared error, as a loss."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import conv2d, interpolate, max_pool2d

from trainables.gpu_kernels import kernels_run
from trainables.losses.loss_settings import CONVOLUTIONS, POOLED, Normalisation, Perceptual
from trainables.losses.squared_error import squared_error
from trainables.losses.vgg16_weights import Vgg16
from trainables.memory import is_short_of_memory
from trainables.tasks import Task
from trainables.training.precision import Precision, choose

PASS_PIXELS = {"cpu": 4 * 224**2, "cuda": 64 * 224**2}  # of one pass: a bound for its activations


class PerceptualLoss:
    """Sum over images of `mse_weight` × squared error + Σ weight × |activations apart|² / C·H·W.

    Args:
        settings: Layers, weights and the size to which images are enlarged.
        task: Whose outputs are compared. They are grey or of three colours.
        vgg: The convolutions' weights, up to the last layer that has a weight.
        precision: In bfloat16, differences are multiplied in it.
        device: Where outputs and targets will be.
    """

    def __init__(
        self,
        settings: Perceptual,
        task: Task,
        vgg: Vgg16,
        *,
        precision: Precision,
        device: torch.device,
    ) -> None:
        self.settings = settings
        self.task = task
        self.precision = precision
        # Images of one pass through VGG16; halved for good whenever memory runs out
        self.batch = max(1, PASS_PIXELS.get(device.type, PASS_PIXELS["cuda"]) // settings.size**2)
        weights = zip(settings.layers, settings.layer_weights, strict=True)
        positive = {layer: weight for layer, weight in weights if weight > 0}
        channels = task.output_shape[0]
        self._convolutions = _convolutions(vgg, channels, positive, precision, device)
        self._fused: Between | None = None
        if kernels_run(device):
            from trainables.losses import perceptual_kernels  # here: Triton takes a second

            self._fused = perceptual_kernels.BetweenConvolutions.apply
        self._centre = sum(vgg.normalisation.mean) / 3

    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return a number in float32 from (N, C, H, W) float32 each.

        It can be differentiated once, towards the outputs.
        """
        targets = targets.detach()
        loss = self.settings.mse_weight * squared_error(outputs, targets)
        if self._convolutions:
            loss = loss + _InPasses.apply(outputs, targets, self)
        return loss

    def in_passes(
        self, outputs: Tensor, targets: Tensor, *, differentiate: bool
    ) -> tuple[Tensor, Tensor | None]:
        """Return the activations' part of the loss, and its gradient if asked for.

        Each pass gives its gradient before the next one starts, so that only one pass's activations
        are in memory.
        """
        while True:
            try:
                pairs = zip(outputs.split(self.batch), targets.split(self.batch), strict=True)
                passes = [self._one_pass(*pair, differentiate=differentiate) for pair in pairs]
                break
            except (RuntimeError, MemoryError) as error:
                if not is_short_of_memory(error) or min(self.batch, len(outputs)) == 1:
                    raise
            # Here and not above, where the error still holds what the pass had in memory
            self.batch = min(self.batch, len(outputs)) // 2
        total = torch.stack([value for value, _ in passes]).sum()
        gradients = [gradient for _, gradient in passes if gradient is not None]
        return total, torch.cat(gradients) if gradients else None

    def _one_pass(
        self, outputs: Tensor, targets: Tensor, *, differentiate: bool
    ) -> tuple[Tensor, Tensor | None]:
        with self.precision.tf32_convolutions():
            with torch.set_grad_enabled(differentiate):
                outputs = outputs.detach().requires_grad_(differentiate)
                distance = self._distance(outputs, targets)
            gradient = torch.autograd.grad(distance, outputs)[0] if differentiate else None
        return distance.detach(), gradient

    def _distance(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Sum the weighted distances between the activations of outputs and targets.

        The targets go through the layers, and beside them the outputs' difference from them.
        Convolutions are linear: what they make of the outputs is what they make of the targets plus
        what they make of the difference. So few digits are few of the difference, which is small
        where a network is good; of two large activations they would cancel. The targets are in
        float32, which a GPU may round to TF32: in bfloat16 neighbours would tie in a pooling, and
        the difference would pick among them.
        """
        total = torch.zeros((), device=outputs.device)
        target = self._prepared(targets)
        difference = self._prepared(outputs) - target
        for layer, following in pairwise(self._convolutions):
            difference = conv2d(difference, layer.kernel, padding=1)
            with torch.no_grad():
                # A GPU's convolution would add the bias in a pass of its own
                bias = None if self._fused else layer.bias
                target = conv2d(target, layer.target_kernel, bias, padding=1)
            between = self._fused or between_convolutions
            difference, target, distance = between(
                difference,
                target,
                layer.bias if self._fused else None,
                layer.weight / difference[0].numel(),
                layer.pooled,
                following.kernel.dtype,
            )
            total = total + distance
        last = self._convolutions[-1]
        difference = conv2d(difference, last.kernel, padding=1)
        total += _SquaredDistance.apply(difference, last.weight / difference[0].numel())
        return total

    def _prepared(self, images: Tensor) -> Tensor:
        """Bring images (N, C, H, W) into [0, 1] and enlarge them: (N, C + 1, size, size).

        The channels are theirs, centred, and ones, which show where padding begins.
        """
        if not self.task.is_unit:
            images = (images - self.task.low) / self.task.span
        side = self.settings.size
        enlarged = interpolate(
            images - self._centre, (side, side), mode="bilinear", align_corners=False
        )
        return torch.cat([enlarged, torch.ones_like(enlarged[:, :1])], dim=1).contiguous(
            memory_format=torch.channels_last
        )


def on(
    task: Task,
    device: torch.device,
    precision: str,
    *,
    settings: Perceptual,
    vgg: Vgg16 | None,
) -> PerceptualLoss:
    """Return the loss for a task. Raises ValueError without VGG16's weights."""
    if vgg is None:
        raise ValueError(
            "the perceptual loss needs VGG16's weights: "
            "pass vgg=trainables.losses.vgg16_weights.load(...)"
        )
    chosen = choose(precision, pays=True, device=device)
    return PerceptualLoss(settings, task, vgg, precision=chosen, device=device)


class _InPasses(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, outputs: Tensor, targets: Tensor, loss: PerceptualLoss) -> Tensor:
        value, gradient = loss.in_passes(outputs, targets, differentiate=ctx.needs_input_grad[0])
        if gradient is not None:
            ctx.save_for_backward(gradient)
        return value

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, factor: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * factor, None, None


Between = Callable[
    [Tensor, Tensor, Tensor | None, float, bool, torch.dtype], tuple[Tensor, Tensor, Tensor]
]


def between_convolutions(
    difference: Tensor,
    target: Tensor,
    bias: Tensor | None,
    factor: float,
    pooled: bool,
    dtype: torch.dtype,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return what the next convolution takes, difference and target, and the distance here.

    Args:
        difference: What the convolution made of the difference, (N, C, H, W).
        target: What it made of the target, in float32; it may be written over.
        bias: Of the convolution, (C,), where the target does not have it yet.
        factor: How much the squared difference counts.
        pooled: Whether a pooling follows.
        dtype: Of the difference that is returned.
    """
    distance = _SquaredDistance.apply(difference, factor) if factor else target.new_zeros(())
    if bias is not None:
        target = target + bias.view(-1, 1, 1)
    output = target + difference
    if pooled:  # before its ReLU: the same for a quarter of the work
        output, target = max_pool2d(output, 2), max_pool2d(target, 2)
    target = target.relu_()
    return _RectifiedLess.apply(output, target).to(dtype), target, distance


class _SquaredDistance(torch.autograd.Function):
    """Sum of squares times a factor, both in float32 whatever the difference's format."""

    @staticmethod
    def forward(ctx: Any, difference: Tensor, factor: float) -> Tensor:
        ctx.save_for_backward(difference)
        ctx.factor = factor
        return difference.square().sum(dtype=torch.float32) * factor

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        """`gradient` is 1, since the sum of these distances is what is differentiated."""
        (difference,) = ctx.saved_tensors
        return difference * (2 * ctx.factor), None


class _RectifiedLess(torch.autograd.Function):
    """ReLU of the outputs' activations, in place, less the targets' own.

    It keeps a byte of each for the gradient, where ReLU would keep four.
    """

    @staticmethod
    def forward(ctx: Any, output: Tensor, rectified_target: Tensor) -> Tensor:
        ctx.save_for_backward(output > 0)
        ctx.mark_dirty(output)
        return output.relu_().sub_(rectified_target)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (positive,) = ctx.saved_tensors
        return gradient * positive, None


@dataclass(frozen=True, eq=False)
class _Convolution:
    """A layer of VGG16, whose tensors ask for no gradients.

    Attributes:
        kernel: (out, in, 3, 3), in the format in which differences are multiplied.
        target_kernel: The same in float32.
        bias: (out,).
        pooled: Whether a pooling follows the layer.
        weight: How much its distances count in the loss; 0 for not at all.
    """

    kernel: Tensor
    target_kernel: Tensor
    bias: Tensor
    pooled: bool
    weight: float


def _convolutions(
    vgg: Vgg16,
    channels: int,
    weights: dict[int, float],
    precision: Precision,
    device: torch.device,
) -> list[_Convolution]:
    """Make the layers up to the last that has a weight."""
    dtype = torch.bfloat16 if precision.name == "bfloat16" else torch.float32
    layers = [layer for layer in CONVOLUTIONS if layer <= max(weights, default=-1)]
    found = []
    for layer in layers:
        kernel = vgg.tensors[f"features.{layer}.weight"]
        if layer == 0:
            kernel = _first_kernel(kernel, vgg.normalisation, channels)
        kernel = kernel.to(device, memory_format=torch.channels_last)
        found.append(
            _Convolution(
                # The first layer, 0.6 % of the work, in float32: it looks for small differences
                kernel=kernel.to(dtype) if layer else kernel,
                target_kernel=kernel,
                bias=vgg.tensors[f"features.{layer}.bias"].to(device),
                pooled=layer in POOLED and layer != layers[-1],
                weight=weights.get(layer, 0.0),
            )
        )
    return found


def _first_kernel(kernel: Tensor, normalisation: Normalisation, channels: int) -> Tensor:
    """Turn the first kernel into one for centred channels, grey or colour, and a channel of ones.

    Copying grey three times and normalising are affine, so they go into the weights. Their constant
    part is the channel of ones: PyTorch pads all channels with zeros, as it pads a normalised
    image. They are centred, by the mean of `normalisation.mean`, since bfloat16 has few digits.
    """
    mean = torch.tensor(normalisation.mean, dtype=torch.float64)
    scaled = kernel.double() / torch.tensor(normalisation.std, dtype=torch.float64).view(3, 1, 1)
    constant = scaled * (mean.mean() - mean).view(3, 1, 1)
    taken = scaled.sum(dim=1, keepdim=True) if channels == 1 else scaled
    return torch.cat([taken, constant.sum(dim=1, keepdim=True)], dim=1).float()
