"""Colour, then geometry, then colour again: two small networks that each pixel goes through alone,
and between them a sum of products "rows @ image @ columns".

A resize, a flip, a blur and a shift are one such product each, a sharpening is a sum of two, and a
rotation or a change of perspective is nearly a sum of some more.
"""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from trainables.best_affine import resize
from trainables.errors import UsageError
from trainables.hyperparameters import Parameter
from trainables.kronecker import Factors
from trainables.linear import AffineMap
from trainables.networks.base import MAP, Budget, Habits, check_at_least_one, scaled
from trainables.tasks import Task

STARTS = ("resize", MAP)
# With how steep the hidden channels are at first: steps of posterize need more than bends do
ACTIVATIONS = {"GELU": 16.0, "Tanh": 40.0}
NOISE = 0.05  # beside a resize, or a map: enough to tell terms, pixels and channels apart


class PixelNetwork(nn.Module):
    """A linear map of a pixel's channels, and a hidden layer beside it that adds nothing at first.

    Args:
        taken: Channels of an image.
        made: Channels of an output.
        width: Of the hidden layer; 0 for none.
        activation: A class of `torch.nn`, by name.
    """

    def __init__(self, taken: int, made: int, width: int, activation: str) -> None:
        super().__init__()
        self.linear = nn.Parameter(torch.eye(made, taken))
        self.bias = nn.Parameter(torch.zeros(made, 1))
        self.width = width
        self.activation: nn.Module = getattr(nn, activation)()
        if width:
            # Each sees one of the channels, and bends somewhere between black and white
            steepness = ACTIVATIONS[activation]
            slopes = steepness * torch.eye(taken).repeat(width, 1)[:width]
            signs = torch.randint(0, 2, (width, 1)) * 2 - 1
            self.hidden = nn.Parameter(signs * slopes)
            self.hidden_bias = nn.Parameter(-steepness * signs * torch.rand(width, 1))
            self.back = nn.Parameter(torch.zeros(made, width))

    def forward(self, images: Tensor) -> Tensor:
        """Return outputs (N, made, H, W) for images (N, taken, H, W)."""
        # Batched products over expanded weights are several times as fast as 1 × 1 convolutions
        count = images.shape[0]
        pixels = images.flatten(2)
        outputs = torch.baddbmm(self.bias, self.linear.expand(count, -1, -1), pixels)
        if self.width:
            hidden = self.hidden.expand(count, -1, -1)
            bent = self.activation(torch.baddbmm(self.hidden_bias, hidden, pixels))
            outputs = torch.baddbmm(outputs, self.back.expand(count, -1, -1), bent)
        return outputs.view(count, len(self.linear), *images.shape[2:])


class Kron(nn.Module):
    """`after(sum of weights · rows @ before(image) @ columns)`.

    With one term, and a width and extra channels of 0, it is what `separable` is.

    Args:
        task: What it is to do.
        terms: Products of a matrix for rows and one for columns. Each is applied to all channels.
        width: Hidden channels of each of the two networks for colours; 0 makes it affine.
        extra: Channels between them beside those of an image and of an output.
        activation: Of the hidden channels, a class of `torch.nn` by name: `GELU` is nearer to what
            bends, `Tanh` to what jumps.
        start: `resize`, or `map`, with which `start_at` is called. Until it is, both are a resize.
    """

    space: ClassVar = {
        "learning_rate": Parameter(5e-4, 1e-2, log=True),
        "patience": Parameter(10),  # which a rate that falls has no use for
        "schedule": Parameter("one-cycle"),
        "terms": Parameter(choices=(1, 2, 8, 32)),
        "width": Parameter(choices=(0, 32)),
        "extra": Parameter(0),
        "activation": Parameter(choices=tuple(ACTIVATIONS)),
        "start": Parameter(choices=STARTS),
    }
    habits: ClassVar = Habits(
        batch_size=64,
        cuda_graph=True,
        cpu=Budget(samples=8, max_epochs=8, images=20_000),
        gpu=Budget(samples=64, max_epochs=50),
    )

    def __init__(
        self, task: Task, terms: int, width: int, extra: int, activation: str, start: str
    ) -> None:
        super().__init__()
        check_at_least_one(terms=terms)
        for name, count in (("width", width), ("extra", extra)):
            if count < 0:
                raise UsageError(f"{name} ≥ 0 must hold, but got {count}")
        for name, value, choices in (
            ("activation", activation, ACTIVATIONS),
            ("start", start, STARTS),
        ):
            if value not in choices:
                raise UsageError(f"{name} is {' or '.join(choices)}, but got {value}")
        self.task = task
        (taken, height, width_taken), (made, rows, columns) = task.input_shape, task.output_shape
        self.before = PixelNetwork(taken, taken + extra, width, activation)
        self.weights = nn.Parameter(torch.zeros(made + extra, terms, taken + extra))
        self.rows = nn.Parameter(torch.randn(terms, rows, height) / height**0.5)
        self.columns = nn.Parameter(torch.randn(terms, width_taken, columns) / width_taken**0.5)
        self.after = PixelNetwork(made + extra, made, width, activation)
        self._begin_with([resize(task)])
        with torch.no_grad():
            self.weights.add_(torch.randn_like(self.weights), alpha=NOISE / terms**0.5)
            for first in (self.rows[0], self.columns[0]):
                first.add_(torch.randn_like(first), alpha=NOISE / first.shape[0] ** 0.5)

    def forward(self, images: Tensor) -> Tensor:
        outputs: Tensor = self.after(self._sum_of_terms(self.before(images)))
        return scaled(outputs, self.task)

    def _sum_of_terms(self, images: Tensor) -> Tensor:
        """Return the sum of weights · rows @ images @ columns over terms and channels.

        It takes two products: of the images with all columns beside each other, and of what that
        makes with rows and weights as one matrix.
        """
        count, channels, height, width = images.shape
        terms, rows, _ = self.rows.shape
        made, columns = self.weights.shape[0], self.columns.shape[2]
        beside = self.columns.transpose(0, 1).reshape(width, terms * columns)
        lines = images.reshape(-1, width) @ beside
        weighted = torch.einsum("ckt,kih->citkh", self.weights, self.rows).transpose(3, 4)
        weighted = weighted.reshape(made * rows, channels * height * terms)
        outputs = weighted @ lines.view(count, channels * height * terms, columns)
        return outputs.view(count, made, rows, columns)

    def start_at(self, affine: AffineMap) -> None:
        """Make it the map, as far as its terms and one offset for each channel go.

        Args:
            affine: A sum of Kronecker products, the largest first.
        """
        self._begin_with(affine.terms[: len(self.rows)])
        offset = affine.offset.mean(dim=(1, 2))
        taken, made = self.task.input_shape[0], self.task.output_shape[0]
        with torch.no_grad():
            self.weights.div_(self.task.span)
            self.after.bias[:, 0] = (offset - self.task.low) / self.task.span
            # Extra channels have weights of zero between them: with zeros on both sides of a
            # product neither would ever get a gradient
            self.before.linear[taken:].normal_(std=NOISE)
            self.after.linear[:, made:].normal_(std=NOISE)

    @torch.no_grad()
    def _begin_with(self, terms: Sequence[Factors]) -> None:
        """Make it the sum of these terms, with colours as they are; other terms keep their rows."""
        made, taken = terms[0].channels.shape
        self.weights.zero_()
        for number, term in enumerate(terms):
            self.weights[:made, number, :taken] = term.channels
            self.rows[number] = term.rows
            self.columns[number] = term.columns
