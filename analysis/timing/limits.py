"""What the hardware would allow at best, and what a network is: parameters, FLOPs, bytes.

The limit is the roofline of Williams, Waterman and Patterson 2009, "Roofline: an insightful visual
performance model for multicore architectures": the longer of moving the bytes and doing the
arithmetic.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from trainables.networks.base import device_of, parameter_count
from trainables.networks.receptive_field import receptive_field
from trainables.tasks import Task
from trainables.training.matrix_rate import matrix_gflops, shortest_sec

BUFFER_MIB = {"cpu": 256, "cuda": 1024}  # beyond every cache


@dataclass(frozen=True)
class Card:
    """What can be said of a network without timing it.

    Attributes:
        flops_per_image: 2 per multiplication and addition of its matrix products and convolutions.
        receptive_height: Pixels; None where its output depends on none of the input.
        receptive_width: Likewise.
    """

    parameters: int
    flops_per_image: int
    weight_bytes: int
    receptive_height: int | None
    receptive_width: int | None


@dataclass(frozen=True)
class Rates:
    """What a device reaches in practice, the best of `matrix_rate.TRIES`.

    Attributes:
        matrix_gflops: A square matrix product in the subject's precision.
        bandwidth_gb_per_sec: Copying a large buffer, bytes read and bytes written together.
    """

    matrix_gflops: float
    bandwidth_gb_per_sec: float


def card(network: nn.Module, task: Task) -> Card:
    """Count them while one image goes through."""
    counter = FlopCounterMode(display=False)
    device = device_of(network)
    with counter, torch.inference_mode():
        network(torch.zeros(1, *task.input_shape, device=device))
    height, width = receptive_field(network, task) or (None, None)
    return Card(
        parameter_count(network),
        counter.get_total_flops(),
        sum(parameter.numel() * parameter.element_size() for parameter in network.parameters()),
        height,
        width,
    )


def image_bytes(input_shape: Sequence[int], output_shape: Sequence[int]) -> int:
    """Return the bytes that an image takes: read as uint8, its output written as float32."""
    return math.prod(input_shape) + 4 * math.prod(output_shape)


def limit_sec(card: Card | None, rates: Rates, images: int, bytes_per_image: int) -> float:
    """Return the least seconds for so many images; without a card, of moving them alone.

    Every image is read and written once, and the weights are read once: between batches a cache may
    keep them.
    """
    moved = images * bytes_per_image + (card.weight_bytes if card else 0)
    flops = images * card.flops_per_image if card else 0
    return max(moved / (rates.bandwidth_gb_per_sec * 1e9), flops / (rates.matrix_gflops * 1e9))


def measure(device: torch.device, precision: str) -> Rates:
    """Measure the device's rates; takes about a second."""
    product_gflops = matrix_gflops(device, precision)
    source = torch.rand(BUFFER_MIB[device.type] * 2**18, device=device)
    target = torch.empty_like(source)
    copied_sec = shortest_sec(lambda: target.copy_(source), device)
    moved = 2 * source.nbytes
    if device.type == "cuda":
        del source, target
        torch.cuda.empty_cache()
    return Rates(product_gflops, moved / copied_sec / 1e9)
