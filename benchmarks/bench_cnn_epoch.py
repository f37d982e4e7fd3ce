"""A CNN epoch against its convolutions alone, in the shapes, layout and precision of training.

    python -m benchmarks.bench_cnn_epoch [ROUNDS]

Alone: forward, and the gradients towards weights and, but in the first layer, inputs, a slice at a
time; the inputs are the same for each slice.
"""

import sys
from collections.abc import Callable

import torch
from torch import Tensor, nn

from benchmarks.common import alternate, ratio, report
from trainables.data.examples import random_examples
from trainables.networks.cnn import CNN
from trainables.networks.registry import build
from trainables.tasks import STUDY
from trainables.training.loop import Training, TrainingConfig
from trainables.training.precision import bfloat16_unit

IMAGES, BATCH, ROUNDS = 1024, 256, 5
CPU = torch.device("cpu")
SLICE = CNN.habits.cpu_slice
backward = torch.ops.aten.convolution_backward


def convolutions(dtype: torch.dtype) -> Callable[[], None]:
    """Make a function that computes those of one slice."""
    layers, images = [], torch.rand(SLICE, 3, 32, 32)
    for layer in build("cnn").layers:
        if isinstance(layer, nn.Conv2d):
            layers.append(
                [laid_out(tensor, dtype) for tensor in (images, layer.weight, layer.bias)]
            )
            images = layer(images).detach()
    gradients = [
        laid_out(torch.rand_like(torch.conv2d(*layer, padding=1)), dtype) for layer in layers
    ]

    def run() -> None:
        for images, weight, bias in layers:
            torch.conv2d(images, weight, bias, padding=1)
        for number, (images, weight, bias) in reversed(list(enumerate(layers))):
            wanted = [number > 0, True, True]
            settings = (
                [1, 1],
                [1, 1],
                [1, 1],
                False,
                [0, 0],
                1,
            )  # stride, padding, dilation, not transposed, groups
            backward(gradients[number], images, weight, [len(bias)], *settings, wanted)

    return run


def laid_out(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    is_image = tensor.dim() == 4
    return tensor.detach().to(
        dtype, memory_format=torch.channels_last if is_image else torch.contiguous_format
    )


def main(rounds: str = str(ROUNDS)) -> None:
    unit = bfloat16_unit(CPU)
    print(f"in {f'bfloat16 on {unit}' if unit else 'float32, since this CPU has no bfloat16 unit'}")
    config = TrainingConfig(model="cnn", learning_rate=1e-3, max_epochs=1, seed=0, batch_size=BATCH)
    training = Training(
        config, random_examples(IMAGES, STUDY), random_examples(1, STUDY), device=CPU
    )
    slice_alone = convolutions(torch.bfloat16 if unit else torch.float32)

    def alone() -> None:
        for _ in range(IMAGES // SLICE):
            slice_alone()

    sides = {
        "its convolutions alone": alone,
        f"cnn epoch, {IMAGES:,} images": lambda: training.train_epoch(1),
    }
    alternate(sides, 1)
    seconds = alternate(sides, int(rounds))
    report(
        "CNN epoch",
        seconds,
        {"convolutions alone by epoch": (ratio(seconds, *sides), "at least 0.70, with AMX")},
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
