"""The multi-scale context aggregation network: convolutions that look ever further apart.

Chen, Xu and Koltun 2017, "Fast image processing with fully-convolutional networks". Nothing in it
depends on the size of an image. With blocks it also knows where in a block a pixel is, and what is
in each block.
"""

import math
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainables.errors import UsageError
from trainables.hyperparameters import Parameter
from trainables.networks.base import Budget, Habits, check_at_least_one, scaled
from trainables.networks.block_curves import BlockCurves
from trainables.tasks import Task

KERNEL = 3  # pixels
SLOPE = 0.2  # of the leaky ReLU below zero
NOISE = 0.3  # beside the identity, as a share of what He et al. 2015 draw kernels with
DEVIATION = 0.3  # of the normalised image, near that of a photograph
HIDDEN = 2  # features of what looks at blocks, for each channel
LEAST_VARIANCE = 1e-3  # below it an image is not stretched any further


class AdaptiveNorm(nn.Module):
    """`scale · x + shift`, which follow for each channel from the channels' means over the image.

    Features that bend at different values have means that tell the image's histogram, so that
    equalisation can be learnt. The hyperbolic tangent of the means is taken, so that scales do not
    grow with the features. At first the norm returns what it is given.

    With blocks a small network adds to each scale and shift what follows from the means over a
    block. Between the centres of blocks that is interpolated, as the "bilateral grid" of Gharbi et
    al. 2017 is, "Deep bilateral learning for real-time image enhancement".

    Args:
        channels: Of the features.
        block: Side of a block in pixels, of which height and width are multiples; 0 for none.
    """

    def __init__(self, channels: int, block: int = 0) -> None:
        super().__init__()
        self.scale_and_shift = nn.Linear(channels, 2 * channels)
        nn.init.zeros_(self.scale_and_shift.weight)
        with torch.no_grad():
            self.scale.fill_(1)
            self.shift.zero_()
        self.block = block
        if block:
            hidden = HIDDEN * channels
            last = nn.Conv2d(hidden, 2 * channels, 1, bias=False)
            nn.init.zeros_(last.weight)
            self.of_blocks = nn.Sequential(nn.Conv2d(channels, hidden, 1), nn.Tanh(), last)

    def forward(self, features: Tensor) -> Tensor:
        scale_and_shift = self.scale_and_shift(torch.tanh(_means(features)))
        scale_and_shift = scale_and_shift[..., None, None].type_as(features)
        if self.block:
            local = self.of_blocks(functional.avg_pool2d(features, self.block))
            scale_and_shift = functional.interpolate(
                scale_and_shift + local, scale_factor=self.block, mode="bilinear"
            )
        scale, shift = scale_and_shift.chunk(2, dim=1)
        return torch.addcmul(shift, features, scale)

    @property
    def scale(self) -> Tensor:
        """What of the scales does not depend on the image: (channels,)."""
        return self.scale_and_shift.bias.chunk(2)[0]

    @property
    def shift(self) -> Tensor:
        """What of the shifts does not depend on the image: (channels,)."""
        return self.scale_and_shift.bias.chunk(2)[1]


class Can(nn.Module):
    """3 × 3 convolutions with the dilations 1, 2, 4, … and at last 1, then one of 1 × 1.

    After each of 3 × 3 come an `AdaptiveNorm` and a leaky ReLU. At first the network copies the
    image, as far as it and the output have channels.

    Chen et al. normalise each layer: `λ · x + μ · N(x)`, with the instance norm N. Its deviations
    take longer than the convolution. Here the network is given N(image) beside the image, and the
    norms of the layers need means only.

    With blocks `BlockCurves` go before the layers, and the norms look at each block. Blocks are
    counted from the upper left. An image that is no whole number of them is continued at the right
    and at the bottom by its last pixels, and what was added is cut off again.
    """

    space: ClassVar = {
        "learning_rate": Parameter(5e-4, 3e-3, log=True),
        "patience": Parameter(10),  # which a rate that falls has no use for
        "schedule": Parameter("one-cycle"),
        "channels": Parameter(choices=(16, 32)),
        "depth": Parameter(4, 5),
        "steepness": Parameter(2.0, 5.0, log=True),
        "block": Parameter(choices=(0, 8)),  # pixels; 8 are those of JPEG
    }
    habits: ClassVar = Habits(
        batch_size=16,
        reduced_precision=True,
        cpu_slice=32,
        cuda_graph=True,
        cpu=Budget(samples=3, max_epochs=6, images=6000),
        gpu=Budget(samples=32, max_epochs=30),
    )

    def __init__(
        self, task: Task, channels: int, depth: int, steepness: float, block: int = 0
    ) -> None:
        super().__init__()
        check_at_least_one(channels=channels, depth=depth)
        if steepness <= 0:
            raise UsageError(f"steepness > 0 must hold, but got {steepness:g}")
        if block < 0:
            raise UsageError(f"block ≥ 0 must hold, but got {block}")
        self.task = task
        taken, made = 2 * task.input_shape[0], task.output_shape[0]
        layers: list[nn.Module] = []
        for number, dilation in enumerate(dilations(depth)):
            convolution = _convolution(
                channels if number else taken, channels, dilation, exact=taken
            )
            norm = AdaptiveNorm(channels, block)
            if number == 0:
                _bend(convolution, norm, taken, steepness)
            layers += [convolution, norm, nn.LeakyReLU(SLOPE, inplace=True)]
        last = nn.Conv2d(channels, made, 1, bias=False)
        nn.init.dirac_(last.weight)
        self.layers = nn.Sequential(*layers, last)
        self.curves = BlockCurves(task.input_shape[0], block) if block else None

    def forward(self, images: Tensor) -> Tensor:
        height, width = images.shape[2:]
        if self.curves is not None:
            below, right = -height % self.curves.multiple, -width % self.curves.multiple
            images = functional.pad(images, (0, right, 0, below), mode="replicate")
            images = self.curves(images)
        normalised = DEVIATION * functional.instance_norm(images, eps=LEAST_VARIANCE)
        outputs = self.layers(torch.cat([images, normalised], dim=1))
        return scaled(outputs[..., :height, :width], self.task)

    @classmethod
    def misfit(cls, task: Task) -> str:
        """Say why it can't do a task: empty where it can."""
        height, width = task.input_shape[1:]
        if task.output_shape[1:] != task.input_shape[1:]:
            return (
                f"can makes outputs of the input's size, and these are "
                f"{task.output_shape[1]} × {task.output_shape[2]} for {height} × {width}; "
                f"give --model fc"
            )
        if height * width == 1:
            return "can compares the pixels of an image, and 1 × 1 has one; give --model fc"
        return ""


def dilations(depth: int) -> list[int]:
    """Return how many pixels apart the taps of each 3 × 3 convolution are."""
    return [*(2**number for number in range(depth - 1)), 1]


def _means(features: Tensor) -> Tensor:
    """Return the means over the pixels: (N, C, H, W) → (N, C).

    By a product, whose gradient lies in memory as channels_last features do. That of `mean` does
    not: a step at 64 × 64 took 1.5 times as much of a CPU's time.
    """
    pixels = features.flatten(2).mT
    weights = torch.ones_like(pixels[:, :1, :1]).expand(-1, 1, pixels.shape[1]) / pixels.shape[1]
    return torch.bmm(weights, pixels).squeeze(1)


def _convolution(taken: int, made: int, dilation: int, exact: int) -> nn.Conv2d:
    """Return a 3 × 3 convolution that keeps the size and copies its channels, with noise beside it.

    Args:
        taken: Channels of its input.
        made: Channels of its output.
        dilation: Pixels from tap to tap.
        exact: The first channels so many are copied without noise.
    """
    layer = nn.Conv2d(taken, made, KERNEL, padding=dilation, dilation=dilation, bias=False)
    noise = NOISE * math.sqrt(2 / (taken * KERNEL**2)) * torch.randn_like(layer.weight)
    nn.init.dirac_(layer.weight)
    with torch.no_grad():
        layer.weight[exact:] += noise[exact:]
    return layer


@torch.no_grad()
def _bend(layer: nn.Conv2d, norm: AdaptiveNorm, copied: int, steepness: float) -> None:
    """Let each first feature that copies no channel bend one of the colours, at a random value.

    Args:
        layer: The first convolution; of its inputs the first half are the colours.
        norm: That after it.
        copied: Features that copy a channel.
        steepness: Of what bends. From steep features steps are learnt sooner.
    """
    bent = layer.weight[copied:, :, KERNEL // 2, KERNEL // 2]
    colours = copied // 2
    numbers = torch.arange(len(bent))
    # One feature of each colour bends upwards, the next downwards
    slopes = steepness * (1 - 2 * (numbers // colours % 2))
    bent[numbers, numbers % colours] += slopes
    norm.shift[copied:] = -slopes * torch.rand(len(bent))
