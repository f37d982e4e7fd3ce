"""GPU memory that a training takes, measured: a few real steps and one validation batch."""

import math
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch

from trainables.data.examples import random_examples
from trainables.losses.vgg16_weights import Vgg16
from trainables.memory import is_short_of_memory
from trainables.training.cuda_graphs import WARM_UP_CALLS
from trainables.training.loop import VALIDATION_BATCH, Training, TrainingConfig

WHOLE_BATCHES = WARM_UP_CALLS + 2  # a CUDA graph is recorded after the first, and then replayed


@dataclass(frozen=True, kw_only=True)
class StepMemory:
    """GPU memory that one training took.

    Attributes:
        fraction: Share of the GPU with which it ran: as asked, else 1; infinite where a whole GPU
            was too small.
        reserved_bytes: The most that CUDA's allocator held for them, which is what a share caps.
        context_bytes: What the process took beside that, for CUDA itself; 0 where NVML doesn't say.
        gpu_bytes: All that the GPU has.
    """

    fraction: float
    reserved_bytes: int
    context_bytes: int
    gpu_bytes: int


def measure(
    config: TrainingConfig,
    *,
    train_images: int,
    validation_images: int,
    fraction: float,
    device: torch.device,
    vgg: Vgg16 | None = None,
    cuda: Any = torch.cuda,
) -> StepMemory:
    """Train for a moment on made-up images, in a process that has not used its GPU yet.

    Args:
        config: The training whose batch size, network and loss count.
        train_images: Images of the real training, all of which lie on the GPU.
        validation_images: Likewise.
        fraction: Share of the GPU's memory that a trial may take. Where it is too small the whole
            GPU is tried, so that the caller can say how much would do.
        device: Where to train.
        vgg: What the perceptual loss needs.
        cuda: What counts the device's memory.

    Raises:
        Exception: What the network raises, other than for want of memory.
    """
    before = _used_bytes(cuda, device)
    cuda.init()
    ran = math.inf
    for allowed in dict.fromkeys((fraction, 1.0)):
        cuda.set_per_process_memory_fraction(allowed, device)
        cuda.reset_peak_memory_stats(device)
        try:
            _train_a_moment(config, train_images, validation_images, device, vgg)
        except Exception as error:
            if not is_short_of_memory(error):
                raise
            cuda.empty_cache()
        else:
            ran = allowed
            break
    beside = _used_bytes(cuda, device) - before - cuda.memory_reserved(device)
    return StepMemory(
        fraction=ran,
        reserved_bytes=cuda.max_memory_reserved(device),
        context_bytes=max(0, beside),
        gpu_bytes=cuda.mem_get_info(device)[1],
    )


def _train_a_moment(
    config: TrainingConfig,
    train_images: int,
    validation_images: int,
    device: torch.device,
    vgg: Vgg16 | None,
) -> None:
    """Run one short epoch while all images of the real training have their place on the device."""
    batch = min(config.batch_size, train_images)
    count = min(train_images, WHOLE_BATCHES * batch + train_images % batch)
    train = random_examples(count, config.task)
    validation = random_examples(min(validation_images, VALIDATION_BATCH), config.task)
    left_out = train_images + validation_images - len(train) - len(validation)
    example_bytes = train.images[0].nbytes + train.targets[0].nbytes
    _place = torch.empty(left_out * example_bytes, dtype=torch.uint8, device=device)
    next(Training(config, train, validation, device=device, vgg=vgg).epochs())


def _used_bytes(cuda: Any, device: torch.device) -> int:
    """Memory of a GPU that is in use by anybody, asked without CUDA; 0 where NVML does not say."""
    with suppress(Exception):  # no package, no permission, a GPU that is divided by MIG
        return int(cuda.device_memory_used(device))
    return 0
