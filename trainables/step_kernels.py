"""A training step's small operations as Triton kernels: a GPU's time went into starting many.

Each says which plain operations it stands for, and `tests/trainables/kernel_checks.py` holds it to
them. Imported only where there is a GPU, since Triton takes a second.
"""

from itertools import zip_longest
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor, nn
from torch.amp import custom_bwd, custom_fwd
from torch.autograd.function import once_differentiable

BLOCK = 1024  # elements that one program of a kernel computes
PROGRAMS = 528  # that share the rows of a sum: four for each multiprocessor of an H100
TILE = 2048  # elements that each of these has at once


def read(
    images: Tensor, targets: Tensor, indices: Tensor, memory_format: torch.memory_format
) -> tuple[Tensor, Tensor]:
    """Return some images as float32 in [0, 1], laid out as asked, and their targets.

    Plainly: `as_input(images.index_select(0, indices), memory_format)` and
    `targets.index_select(0, indices)`.
    """
    images, targets = images.contiguous(), targets.contiguous()
    count, shape, target_shape = len(indices), images.shape[1:], targets.shape[1:]
    found = torch.empty((count, *shape), device=images.device, memory_format=memory_format)
    found_targets = torch.empty((count, *target_shape), device=images.device)
    pixels, numbers = shape.numel(), target_shape.numel()
    _read[count, triton.cdiv(max(pixels, numbers), BLOCK)](
        images,
        targets,
        indices,
        found,
        found_targets,
        pixels,
        numbers,
        channels=shape[0],
        channels_last=memory_format == torch.channels_last,
        block=BLOCK,
    )
    return found, found_targets


class SquaredError(torch.autograd.Function):
    """`squared_error.squared_error(outputs, targets)`, both in float32."""

    @staticmethod
    def forward(ctx: Any, outputs: Tensor, targets: Tensor) -> Tensor:
        outputs, targets = outputs.contiguous(), targets.contiguous()
        count, numbers = outputs.numel(), targets[0].numel()
        sums = outputs.new_empty(triton.cdiv(count, BLOCK))
        _squares[sums.shape](outputs, targets, sums, 1 / numbers, count, block=BLOCK)
        ctx.save_for_backward(outputs, targets)
        return sums.sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, factor: Tensor) -> tuple[Tensor, None]:
        outputs, targets = ctx.saved_tensors
        result, count = torch.empty_like(outputs), outputs.numel()
        _squares_backward[(triton.cdiv(count, BLOCK),)](
            outputs, targets, factor, result, 2 / targets[0].numel(), count, block=BLOCK
        )
        return result, None


class Linear(torch.autograd.Function):
    """`linear(inputs, weight, bias)` of inputs (N, in), in float32.

    The bias is added to the product: for a product with a bias cuBLAS takes another kernel, which
    for 3072 → 128 needs twice the time.
    """

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(inputs, weight)
        return (inputs @ weight.T).add_(bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor, Tensor]:
        inputs, weight = ctx.saved_tensors
        gradient = gradient.contiguous()
        rows, columns = gradient.shape
        bias = gradient.new_empty(columns)
        _sum_rows[(triton.cdiv(columns, 16),)](
            gradient, bias, rows, columns, tile_rows=128, tile_columns=16
        )
        of_inputs = gradient @ weight if ctx.needs_input_grad[0] else None
        return of_inputs, gradient.T @ inputs, bias


def convolutions(layers: nn.Sequential, images: Tensor) -> Tensor:
    """Return `layers(images)` in bfloat16: convolutions, their ReLUs, and what lies between."""
    modules = list(layers)
    for layer, following in zip_longest(modules, modules[1:]):
        if isinstance(layer, nn.Conv2d):
            if isinstance(following, nn.ReLU):
                convolution: Any = RectifiedConvolution
            elif _few_columns(layer):
                convolution = NarrowConvolution
            else:
                images = layer(images)
                continue
            images = convolution.apply(images, layer.weight, layer.bias, layer.padding)
        elif not isinstance(layer, nn.ReLU):
            images = layer(images)
    return images


def _few_columns(layer: nn.Conv2d) -> bool:
    columns = layer.weight[:, 0].numel()
    return columns <= layer.in_channels and columns % 8 == 0  # tensor cores take eights


class RectifiedConvolution(torch.autograd.Function):
    """`conv2d(images, weight, bias, padding=padding).relu()` in bfloat16.

    Forward it is one kernel of cuDNN. Backward, ReLU's mask and the sum for the bias are one.
    """

    @staticmethod
    @custom_fwd(device_type="cuda", cast_inputs=torch.bfloat16)
    def forward(
        ctx: Any, images: Tensor, weight: Tensor, bias: Tensor, padding: tuple[int, int]
    ) -> Tensor:
        weight = weight.contiguous(memory_format=torch.channels_last)
        rectified: Tensor = torch.cudnn_convolution_relu(
            images, weight, bias, (1, 1), padding, (1, 1), 1
        )
        ctx.save_for_backward(images, weight, rectified)
        ctx.padding = padding
        return rectified

    @staticmethod
    @custom_bwd(device_type="cuda")
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor, Tensor, None]:
        images, weight, rectified = ctx.saved_tensors
        gradient, of_bias = masked(gradient, rectified)
        wanted = [ctx.needs_input_grad[0], True, False]
        of_images, of_weight, _ = torch.ops.aten.convolution_backward(
            gradient, images, weight, None, (1, 1), ctx.padding, (1, 1), False, (0, 0), 1, wanted
        )
        return of_images, of_weight, of_bias, None


def masked(gradient: Tensor, rectified: Tensor) -> tuple[Tensor, Tensor]:
    """Return the gradient before a ReLU, and its sum over all but the channels, in float32.

    Plainly: `gradient * (rectified > 0)`, and of it `.sum((0, 2, 3))`. Both are (N, C, H, W).
    """
    gradient, rectified = (
        tensor.contiguous(memory_format=torch.channels_last) for tensor in (gradient, rectified)
    )
    result, channels = torch.empty_like(gradient), gradient.shape[1]
    rows = gradient.numel() // channels
    tile_channels = triton.next_power_of_2(channels)
    tile_rows = max(1, TILE // tile_channels)
    programs = min(PROGRAMS, triton.cdiv(rows, tile_rows))
    sums = torch.empty(channels, programs, device=gradient.device)
    _masked[(programs,)](
        gradient,
        rectified,
        result,
        sums,
        rows,
        channels=channels,
        tile_rows=tile_rows,
        tile_channels=tile_channels,
    )
    return result, sums.sum(1)


class NarrowConvolution(torch.autograd.Function):
    """`conv2d(images, weight, bias, padding=padding)` to few channels, multiplied in bfloat16.

    cuDNN takes as long for one channel as for dozens. Here each pixel is multiplied with all of the
    kernel at once, and what a pixel of the output consists of is added up, in float32.
    """

    @staticmethod
    @custom_fwd(device_type="cuda", cast_inputs=torch.bfloat16)
    def forward(
        ctx: Any, images: Tensor, weight: Tensor, bias: Tensor, padding: tuple[int, int]
    ) -> Tensor:
        count, taken, height, width = images.shape
        channels, _, side, _ = weight.shape
        pixels = images.permute(0, 2, 3, 1).reshape(-1, taken)
        matrix = weight.permute(1, 2, 3, 0).reshape(taken, -1)
        size = [length + 2 * padding[0] - side + 1 for length in (height, width)]
        outputs = torch.empty(count, channels, *size, device=images.device)
        _fold[(triton.cdiv(outputs.numel(), BLOCK),)](
            matrix.T @ pixels.T,
            bias,
            outputs,
            outputs.numel(),
            len(pixels),
            height,
            width,
            *size,
            padding=padding[0],
            channels=channels,
            side=side,
            block=BLOCK,
        )
        ctx.save_for_backward(pixels, matrix)
        ctx.shapes, ctx.padding = (images.shape, weight.shape), padding[0]
        return outputs

    @staticmethod
    @custom_bwd(device_type="cuda")
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        pixels, matrix = ctx.saved_tensors
        (count, taken, height, width), (channels, _, side, _) = ctx.shapes
        gradient = gradient.contiguous()
        spread = pixels.new_empty(len(pixels), matrix.shape[1])
        _spread[(triton.cdiv(spread.numel(), BLOCK),)](
            gradient,
            spread,
            spread.numel(),
            height,
            width,
            *gradient.shape[2:],
            padding=ctx.padding,
            channels=channels,
            side=side,
            block=BLOCK,
        )
        of_pixels = (spread @ matrix.T).view(count, height, width, taken)
        # Image by image: as one product it would have few and long sums
        parts = spread.view(count, -1, matrix.shape[1]).mT @ pixels.view(count, -1, taken)
        of_weight = parts.sum(0, dtype=torch.float32).view(side, side, channels, taken)
        of_images, of_bias = of_pixels.permute(0, 3, 1, 2), gradient.sum((0, 2, 3))
        return of_images, of_weight.permute(2, 3, 0, 1), of_bias, None


@triton.jit
def _read(
    images_at,
    targets_at,
    indices_at,
    found_at,
    found_targets_at,
    pixels,
    numbers,
    channels: tl.constexpr,
    channels_last: tl.constexpr,
    block: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    image = tl.load(indices_at + row)
    at = tl.program_id(1) * block + tl.arange(0, block)
    inside = at < pixels
    source = at
    if channels_last:
        source = at % channels * (pixels // channels) + at // channels
    values = tl.load(images_at + image * pixels + source, inside, 0).to(tl.float32) * (1 / 255)
    tl.store(found_at + row * pixels + at, values, inside)
    inside = at < numbers
    target = tl.load(targets_at + image * numbers + at, inside, 0.0)
    tl.store(found_targets_at + row * numbers + at, target, inside)


@triton.jit
def _squares(outputs_at, targets_at, sums_at, factor, count, block: tl.constexpr):
    at = tl.program_id(0) * block + tl.arange(0, block)
    inside = at < count
    difference = tl.load(outputs_at + at, inside, 0.0) - tl.load(targets_at + at, inside, 0.0)
    tl.store(sums_at + tl.program_id(0), tl.sum(difference * difference) * factor)


@triton.jit
def _squares_backward(
    outputs_at, targets_at, factor_at, result_at, factor, count, block: tl.constexpr
):
    at = tl.program_id(0) * block + tl.arange(0, block)
    inside = at < count
    difference = tl.load(outputs_at + at, inside, 0.0) - tl.load(targets_at + at, inside, 0.0)
    tl.store(result_at + at, difference * (factor * tl.load(factor_at)), inside)


@triton.jit
def _sum_rows(
    matrix_at, sums_at, rows, columns, tile_rows: tl.constexpr, tile_columns: tl.constexpr
):
    column = tl.program_id(0) * tile_columns + tl.arange(0, tile_columns)
    total = tl.zeros((tile_columns,), tl.float32)
    for first in range(0, rows, tile_rows):
        row = first + tl.arange(0, tile_rows)
        at = row.to(tl.int64)[:, None] * columns + column[None, :]
        inside = (row < rows)[:, None] & (column < columns)[None, :]
        total += tl.sum(tl.load(matrix_at + at, inside, 0.0), 0)
    tl.store(sums_at + column, total, column < columns)


@triton.jit
def _masked(
    gradient_at,
    rectified_at,
    result_at,
    sums_at,
    rows,
    channels: tl.constexpr,
    tile_rows: tl.constexpr,
    tile_channels: tl.constexpr,
):
    """A row is a pixel's channels; programs take turns at the tiles of rows."""
    program, programs = tl.program_id(0), tl.num_programs(0)
    channel = tl.arange(0, tile_channels)
    total = tl.zeros((tile_channels,), tl.float32)
    for first in range(program * tile_rows, rows, programs * tile_rows):
        row = first + tl.arange(0, tile_rows)
        at = row.to(tl.int64)[:, None] * channels + channel[None, :]
        inside = (row < rows)[:, None] & (channel < channels)[None, :]
        gradient = tl.load(gradient_at + at, inside, 0.0).to(tl.float32)
        rectified = tl.load(rectified_at + at, inside, 0.0).to(tl.float32)
        gradient = tl.where(rectified <= 0, 0.0, gradient)
        tl.store(result_at + at, gradient, inside)
        total += tl.sum(gradient, 0)
    tl.store(sums_at + channel * programs + program, total, channel < channels)


@triton.jit
def _fold(
    parts_at,
    bias_at,
    outputs_at,
    count,
    pixels,
    height,
    width,
    out_height,
    out_width,
    padding: tl.constexpr,
    channels: tl.constexpr,
    side: tl.constexpr,
    block: tl.constexpr,
):
    """Add up a convolution's outputs (N, C, H, W) of what each pixel makes (tap, C, N, h, w)."""
    at = tl.program_id(0) * block + tl.arange(0, block)
    inside = at < count
    column, row = at % out_width, at // out_width % out_height
    channel = at // (out_width * out_height) % channels
    image = (at // (out_width * out_height * channels)).to(tl.int64)
    total = tl.load(bias_at + channel).to(tl.float32)
    for tap in tl.static_range(side * side):
        y, x = row + tap // side - padding, column + tap % side - padding
        there = inside & (y >= 0) & (y < height) & (x >= 0) & (x < width)
        part = (tap * channels + channel).to(tl.int64) * pixels + (image * height + y) * width + x
        total += tl.load(parts_at + part, there, 0.0).to(tl.float32)
    tl.store(outputs_at + at, total, inside)


@triton.jit
def _spread(
    gradient_at,
    spread_at,
    count,
    height,
    width,
    out_height,
    out_width,
    padding: tl.constexpr,
    channels: tl.constexpr,
    side: tl.constexpr,
    block: tl.constexpr,
):
    """Give each pixel the gradients of the outputs that it is part of: (N, h, w, tap, C)."""
    at = tl.program_id(0) * block + tl.arange(0, block)
    inside = at < count
    channel, tap = at % channels, at // channels % (side * side)
    pixel = at // (side * side * channels)
    x, y, image = pixel % width, pixel // width % height, pixel // (width * height)
    row, column = y - tap // side + padding, x - tap % side + padding
    there = inside & (row >= 0) & (row < out_height) & (column >= 0) & (column < out_width)
    source = ((image * channels + channel) * out_height + row) * out_width + column
    tl.store(spread_at + at, tl.load(gradient_at + source, there, 0.0), inside)
