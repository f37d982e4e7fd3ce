"""Curves for the frequencies of blocks: what JPEG's quantisation is, and a network can learn."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

KNOTS = 16  # of each curve
REACH = 0.6  # of the outer knots, where pixels are in [0, 1] and the transform is orthonormal
SLOPE = 20.0  # of the steps at first
LUMA_AND_COLOURS = (  # of ITU-R BT.601, as JPEG has them
    (0.299, 0.587, 0.114),
    (-0.168736, -0.331264, 0.5),
    (0.5, -0.418688, -0.081312),
)


class Curves(nn.Module):
    """Adds to each coefficient of the blocks' discrete cosine transform a function of it.

    The function, `gain · c + Σ height · tanh(slope · c + offset)` over the knots, is one for each
    frequency of luma and of both colour differences; of other than three channels for each of the
    channels. At first it is 0.

    Args:
        channels: Of the images.
        side: Of a block in pixels.
    """

    analysis: Tensor
    synthesis: Tensor

    def __init__(self, channels: int, side: int) -> None:
        super().__init__()
        mixing = torch.tensor(LUMA_AND_COLOURS) if channels == 3 else torch.eye(channels)
        cosines = _cosine_transform(side)
        basis = torch.einsum("ui,vj->uvij", cosines, cosines).flatten(0, 1)
        for name, colours in (("analysis", mixing), ("synthesis", torch.linalg.inv(mixing).T)):
            kernels = torch.einsum("pc,fij->pfcij", colours, basis).flatten(0, 1)
            self.register_buffer(name, kernels, persistent=False)
        self.side = side
        count = len(self.analysis)
        places = torch.linspace(-REACH, REACH, KNOTS)
        self.gains = nn.Parameter(torch.zeros(count))
        self.heights = nn.Parameter(torch.zeros(count, KNOTS))
        self.slopes = nn.Parameter(torch.full((count, KNOTS), SLOPE))
        self.offsets = nn.Parameter((-SLOPE * places).repeat(count, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Return what is added to images (N, C, H, W), whose sides are whole blocks."""
        centred = images - 0.5
        coefficients = functional.conv2d(centred, self.analysis, stride=self.side)
        last = coefficients.permute(0, 2, 3, 1)[..., None]
        steps = torch.tanh(torch.addcmul(self.offsets, self.slopes, last))
        changes = self.gains * last[..., 0] + (self.heights * steps).sum(-1)
        changes = changes.permute(0, 3, 1, 2)
        return functional.conv_transpose2d(changes, self.synthesis, stride=self.side)


class BlockCurves(nn.Module):
    """Curves for the frequencies of blocks, and for those of blocks twice as large.

    The latter see the image at half its size, as JPEG keeps colours (4:2:0).

    Args:
        channels: Of the images.
        side: Of a block in pixels.
    """

    def __init__(self, channels: int, side: int) -> None:
        super().__init__()
        self.multiple = 2 * side
        self.whole = Curves(channels, side)
        self.halved = Curves(channels, side)

    def forward(self, images: Tensor) -> Tensor:
        """Return images (N, C, H, W), changed; H and W are multiples of `multiple`."""
        halved = self.halved(functional.avg_pool2d(images, 2))
        larger = functional.interpolate(halved, scale_factor=2, mode="bilinear")
        changed: Tensor = images + self.whole(images) + larger
        return changed


def _cosine_transform(side: int) -> Tensor:
    """Return the matrix of the orthonormal DCT-II of so many values: a row for each frequency."""
    numbers = torch.arange(side)
    angles = math.pi * (2 * numbers + 1) * numbers[:, None] / (2 * side)
    matrix = math.sqrt(2 / side) * torch.cos(angles)
    matrix[0] /= math.sqrt(2)
    return matrix
