"""What lies between two convolutions of the perceptual loss, as one Triton kernel each way.

Written with PyTorch's operations it reads and writes activations a dozen times; here once. It is
for GPUs. What it computes is defined by `perceptual.between_convolutions`.

Imported only where there is a GPU: Triton takes a second.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

BLOCK = 1024  # elements that one program of a kernel computes
NOT_POSITIVE = tl.constexpr(4)  # in place of which of the four pixels was the largest


class BetweenConvolutions(torch.autograd.Function):
    """Bias, squared distance, pooling and ReLU; arguments as `perceptual.between_convolutions` has.

    Differences and targets are (N, C, H, W) in channels_last.
    """

    @staticmethod
    def forward(
        ctx: Any,
        difference: Tensor,
        target: Tensor,
        bias: Tensor,
        factor: float,
        pooled: bool,
        dtype: torch.dtype,
    ) -> tuple[Tensor, Tensor, Tensor]:
        difference, target = (
            tensor.contiguous(memory_format=torch.channels_last) for tensor in (difference, target)
        )
        count, channels, height, width = difference.shape
        if pooled:
            size = torch.Size((count, channels, height // 2, width // 2))
            grid = (count * ((height + 1) // 2), triton.cdiv((width + 1) // 2 * channels, BLOCK))
            rectified_target = _empty(size, target.dtype, difference)
        else:
            size = difference.shape
            grid = (triton.cdiv(difference.numel(), BLOCK), 1)
            rectified_target = target  # overwritten: nobody else has it
        less = _empty(size, dtype, difference)
        choice = _empty(size, torch.int8, difference)
        squares = difference.new_empty(grid if factor else 0, dtype=torch.float32)
        arguments = (difference, target, bias, less, rectified_target, choice, squares)
        more = {"channels": channels, "squared": factor != 0, "block": BLOCK}
        if pooled:
            _pool[grid](*arguments, height, width, **more)
        else:
            _rectify[grid](*arguments, difference.numel(), **more)
        ctx.save_for_backward(choice, *([difference] if factor else []))
        ctx.shape, ctx.dtype, ctx.grid = difference.shape, difference.dtype, grid
        ctx.factor, ctx.pooled = factor, pooled
        ctx.mark_non_differentiable(rectified_target)
        return less, rectified_target, squares.sum() * factor

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        """The gradient of the distance is 1, since their sum is what is differentiated."""
        choice, *saved = ctx.saved_tensors
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        _, channels, height, width = ctx.shape
        result = _empty(ctx.shape, ctx.dtype, gradient)
        arguments = (gradient, choice, saved[0] if saved else result, result, 2 * ctx.factor)
        more = {"squared": ctx.factor != 0, "block": BLOCK}
        if ctx.pooled:
            _pool_backward[ctx.grid](*arguments, height, width, channels=channels, **more)
        else:
            _rectify_backward[ctx.grid](*arguments, result.numel(), **more)
        return result, None, None, None, None, None


def _empty(size: torch.Size, dtype: torch.dtype, like: Tensor) -> Tensor:
    return torch.empty(size, dtype=dtype, device=like.device, memory_format=torch.channels_last)


@triton.jit
def _rectify(
    difference_at,
    target_at,
    bias_at,
    less_at,
    rectified_target_at,
    choice_at,
    squares_at,
    count,
    channels: tl.constexpr,
    squared: tl.constexpr,
    block: tl.constexpr,
):
    program = tl.program_id(0)
    at = program.to(tl.int64) * block + tl.arange(0, block)
    inside = at < count
    difference = tl.load(difference_at + at, inside, 0.0).to(tl.float32)
    target = tl.load(target_at + at, inside, 0.0).to(tl.float32) + tl.load(bias_at + at % channels)
    output = target + difference
    rectified_target = _relu(target)
    tl.store(rectified_target_at + at, rectified_target, inside)
    tl.store(less_at + at, _relu(output) - rectified_target, inside)
    tl.store(choice_at + at, tl.where(output > 0, 0, NOT_POSITIVE).to(tl.int8), inside)
    if squared:
        tl.store(squares_at + program, tl.sum(difference * difference))


@triton.jit
def _rectify_backward(
    gradient_at,
    choice_at,
    difference_at,
    result_at,
    twice_factor,
    count,
    squared: tl.constexpr,
    block: tl.constexpr,
):
    at = tl.program_id(0).to(tl.int64) * block + tl.arange(0, block)
    inside = at < count
    gradient = tl.load(gradient_at + at, inside, 0.0).to(tl.float32)
    result = tl.where(tl.load(choice_at + at, inside, 0) == 0, gradient, 0.0)
    if squared:
        result += twice_factor * tl.load(difference_at + at, inside, 0.0).to(tl.float32)
    tl.store(result_at + at, result, inside)


@triton.jit
def _pool(
    difference_at,
    target_at,
    bias_at,
    less_at,
    pooled_target_at,
    choice_at,
    squares_at,
    height,
    width,
    channels: tl.constexpr,
    squared: tl.constexpr,
    block: tl.constexpr,
):
    """A program does part of a line of windows of 2 × 2. One that is cut off has no maximum."""
    line, first, across, channel, whole, pooled = _windows(height, width, channels, block)
    bias = tl.load(bias_at + channel)
    largest_output = tl.full((block,), float("-inf"), tl.float32)
    largest_target = tl.full((block,), float("-inf"), tl.float32)
    choice = tl.full((block,), 0, tl.int32)
    squares = tl.full((block,), 0.0, tl.float32)
    for number in tl.static_range(4):
        down, right = number // 2, number % 2
        inside = (2 * line + down < height) & (2 * across + right < width)
        at = first + (down * width + 2 * across + right) * channels + channel
        difference = tl.load(difference_at + at, inside, 0.0).to(tl.float32)
        target = tl.load(target_at + at, inside, 0.0).to(tl.float32) + bias
        output = target + difference
        larger = (output > largest_output) | (output != output)  # as PyTorch: what is no number
        choice = tl.where(larger, number, choice)
        largest_output = tl.where(larger, output, largest_output)
        larger = (target > largest_target) | (target != target)
        largest_target = tl.where(larger, target, largest_target)
        squares += difference * difference
    rectified_target = _relu(largest_target)
    tl.store(pooled_target_at + pooled, rectified_target, whole)
    tl.store(less_at + pooled, _relu(largest_output) - rectified_target, whole)
    choice = tl.where(largest_output > 0, choice, NOT_POSITIVE)
    tl.store(choice_at + pooled, choice.to(tl.int8), whole)
    if squared:
        program = tl.program_id(0) * tl.num_programs(1) + tl.program_id(1)
        tl.store(squares_at + program, tl.sum(squares))


@triton.jit
def _pool_backward(
    gradient_at,
    choice_at,
    difference_at,
    result_at,
    twice_factor,
    height,
    width,
    channels: tl.constexpr,
    squared: tl.constexpr,
    block: tl.constexpr,
):
    line, first, across, channel, whole, pooled = _windows(height, width, channels, block)
    gradient = tl.load(gradient_at + pooled, whole, 0.0).to(tl.float32)
    choice = tl.load(choice_at + pooled, whole, NOT_POSITIVE)
    for number in tl.static_range(4):
        down, right = number // 2, number % 2
        inside = (2 * line + down < height) & (2 * across + right < width)
        at = first + (down * width + 2 * across + right) * channels + channel
        result = tl.where(choice == number, gradient, 0.0)
        if squared:
            result += twice_factor * tl.load(difference_at + at, inside, 0.0).to(tl.float32)
        tl.store(result_at + at, result, inside)


@triton.jit
def _windows(height, width, channels: tl.constexpr, block: tl.constexpr):
    """Return where a program's windows lie.

    The number of their line in the image, where its first element is, each window's place in the
    line, its channel, whether it has four pixels, and where its maximum belongs.
    """
    lines = (height + 1) // 2
    row = tl.program_id(0)
    part = tl.program_id(1) * block + tl.arange(0, block)
    image, line = (row // lines).to(tl.int64), row % lines + tl.zeros_like(part)
    across, channel = part // channels, part % channels
    first = (image * height + 2 * line) * width * channels
    whole = (line < height // 2) & (across < width // 2)
    pooled = (image * (height // 2) + line) * (width // 2) * channels + part
    return line, first, across, channel, whole, pooled


@triton.jit
def _relu(values):
    return tl.where(values <= 0, 0.0, values)  # keeps what is no number, as PyTorch does
