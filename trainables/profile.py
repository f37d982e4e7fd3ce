"""Where an epoch's time goes, and how near to the machine's matrix rate a network comes.

    python -m trainables.profile --model cnn
    python -m trainables.profile --model cnn --loss perceptual --perceptual-size 64

Images, targets and VGG16's weights are random, since the time does not depend on their values.
Epochs are timed in pairs, one left alone and one part by part, which shows what the timing itself
costs. Exit status: 0, 2 for a mistake on the command line, 130 after Ctrl-C.
"""

import argparse
import math
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import torch
from torch.utils.flop_counter import FlopCounterMode

from trainables import own_code
from trainables.data.examples import VALIDATION_PER_TRAIN, random_examples
from trainables.errors import UsageError, command, prog
from trainables.hyperparameters import chosen_of, short, text, values_of
from trainables.losses import loss_registry
from trainables.losses.loss_registry import LOSSES
from trainables.losses.loss_settings import SMALLEST, Perceptual
from trainables.losses.vgg16_weights import random_vgg16
from trainables.networks.base import habits_of, space_of
from trainables.networks.registry import NETWORKS, find
from trainables.settings_fields import flag
from trainables.training.loop import Training, TrainingConfig
from trainables.training.matrix_rate import finish, matrix_gflops
from trainables.training.precision import PRECISIONS
from trainables.training.try_out import check

EPOCH_SEC = 1.5  # length of an epoch at the full matrix rate, where --images leaves the choice
FEWEST = 4  # images then: one pass through VGG16 on a CPU
# Small networks are far from that rate; on a GPU as many as CIFAR-10's training split has
MOST = {"cpu": 16_384, "cuda": 45_000}
PARTED, ALONE = "epoch, part by part", "epoch, left alone"
GPU_NOTE = (
    "Each part was waited for; left alone nothing is, and CUDA graphs are used where they can be."
)
PARTS = ("reading and converting", "forward", "loss", "backward", "optimiser", "validation")
REST = "the rest"
COUNTED = 2  # images; batch normalisation does not take one alone


@dataclass(frozen=True, kw_only=True)
class Profile:
    """Where the time of an epoch, training and validation, goes.

    Attributes:
        part_sec: Seconds of the parts of the timed epoch with the median duration: PARTS and
            REST, which add up to that epoch.
        epoch_sec: Median of the epochs left alone.
        images: How many are trained on.
        flops: 2 per multiplication and addition of matrix products and convolutions, forward and
            backward.
        precision: What most of those are done in.
        matrix_gflops: What a matrix product in that precision with the same threads reaches at
            best, in 10⁹ FLOPs a second.
    """

    part_sec: dict[str, float]
    epoch_sec: float
    images: int
    flops: int
    precision: str
    matrix_gflops: float


def measure(
    config: TrainingConfig, *, images: int | None, epochs: int, device: torch.device
) -> Profile:
    """Profile a training; prints a line before what takes long.

    Args:
        config: What is trained, and how.
        images: How many are trained on; None takes as many as take a few seconds.
        epochs: How many are timed whole, and as many part by part.
        device: Where to train.
    """
    vgg = random_vgg16() if config.loss == "perceptual" else None
    few = random_examples(COUNTED, config.task)
    counted = Training(config, few, few, device=device, vgg=vgg)
    train_flops, validation_flops = flops_per_image(counted)
    precision = (counted.perceptual or counted).precision  # of most products
    print(f"measuring the matrix rate in {precision.name} ({precision.reason}) …", flush=True)
    rate = matrix_gflops(device, precision.name)
    train = random_examples(images or fitting_images(train_flops / rate / 1e9, device), config.task)
    validation = random_examples(max(1, round(len(train) * VALIDATION_PER_TRAIN)), config.task)
    print(
        f"{config.model}, {_chosen(config)}{own_code.short(config.loss)}, "
        f"batch {config.batch_size}: ",
        end="",
    )
    print(f"{len(train):,} random images, one epoch to warm up, then {epochs} pairs …", flush=True)
    alone, parted = time_epochs(Training(config, train, validation, device=device, vgg=vgg), epochs)
    return Profile(
        part_sec=sorted(parted, key=lambda part_sec: sum(part_sec.values()))[(epochs - 1) // 2],
        epoch_sec=statistics.median(alone),
        images=len(train),
        flops=train_flops * len(train) + validation_flops * len(validation),
        precision=precision.name,
        # Again, since the machine may have been busy before
        matrix_gflops=max(rate, matrix_gflops(device, precision.name)),
    )


def _chosen(config: TrainingConfig) -> str:
    return "".join(f"{short(name)} {text(name, value)}, " for name, value in config.chosen.items())


@contextmanager
def timed_parts(training: Training) -> Iterator[dict[str, float]]:
    """Time the parts of the epochs that a training goes through in the block.

    Yields the seconds of each of PARTS. Methods are replaced on the training's own objects and put
    back at the end. On a GPU each part is waited for, and no CUDA graph is used, since nothing
    within one can be timed.
    """
    part_sec = dict.fromkeys(PARTS, 0.0)
    is_inside = False

    def timed(part: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            nonlocal is_inside
            if is_inside:  # validation reads and goes forward too
                return method(*arguments)
            is_inside = True
            finish(training.device)
            start = time.perf_counter()
            result = method(*arguments)
            finish(training.device)
            part_sec[part] += time.perf_counter() - start
            is_inside = False
            return result

        return call

    of_gradients = [(training.gradients, name) for name in ("read", "forward", "loss", "backward")]
    methods = [*of_gradients, (training.optimizer, "step"), (training, "_validate")]
    with ExitStack() as replaced:
        for part, (owner, name) in zip(PARTS, methods, strict=True):
            method = timed(part, getattr(owner, name))
            replaced.enter_context(patch.object(owner, name, method))
        replaced.enter_context(patch.object(training, "graph", None))
        yield part_sec


def time_epochs(training: Training, count: int) -> tuple[list[float], list[dict[str, float]]]:
    """Time `count` pairs of epochs after one to warm up; each is training and validation.

    Returns the seconds of each pair's first epoch, which is left alone, and of the parts of its
    second: PARTS and REST, which add up to that epoch. Best weights are not kept.
    """
    _epoch_sec(training, 1)
    alone, parted = [], []
    for number in range(2, 2 * count + 2, 2):
        alone.append(_epoch_sec(training, number))
        with timed_parts(training) as part_sec:
            epoch_sec = _epoch_sec(training, number + 1)
        parted.append(part_sec | {REST: epoch_sec - sum(part_sec.values())})
    return alone, parted


def _epoch_sec(training: Training, number: int) -> float:
    # Training and validation each end with reading a number from the device, which waits for it
    start = time.perf_counter()
    training.train_epoch(number)
    training._validate()
    return time.perf_counter() - start


def flops_per_image(training: Training) -> tuple[int, int]:
    """Count the FLOPs of training, forward and backward, and of validation. Nothing is updated."""
    count = len(training.train)
    training.network.train()
    counted_too: Any = {torch.ops.aten.cudnn_convolution_relu: _convolution_flops}
    with FlopCounterMode(display=False, custom_mapping=counted_too) as trained:
        training.gradients.of(training.train, torch.arange(count, device=training.device), count)
    with FlopCounterMode(display=False) as validated:
        training._validate()
    validation_flops = validated.get_total_flops() // len(training.validation)
    return trained.get_total_flops() // count, validation_flops


def _convolution_flops(images: Any, weight: Any, *_: Any, out_shape: Any) -> int:
    return 2 * int(math.prod(weight) * out_shape[0] * math.prod(out_shape[2:]))


def fitting_images(image_sec: float, device: torch.device) -> int:
    """Return how many images make epochs of about EPOCH_SEC, where one takes `image_sec`.

    A power of two, so that a noisy machine mostly gives the same number again.
    """
    most, count = MOST[device.type], int(EPOCH_SEC / image_sec)
    return most if count >= most else max(FEWEST, 1 << count.bit_length() >> 1)


def lines(profile: Profile, device: torch.device) -> list[str]:
    """Return what is printed of a profile."""
    gflops = profile.flops / profile.epoch_sec / 1e9
    parted_sec = sum(profile.part_sec.values())
    rows = {**profile.part_sec, PARTED: parted_sec, ALONE: profile.epoch_sec}
    threads = f" on {torch.get_num_threads()} threads" if device.type == "cpu" else ""
    return [
        f"{'':<28}{'s':>10}{'%':>9}",
        *(f"{name:<28}{sec:>10.4f}{100 * sec / parted_sec:>9.1f}" for name, sec in rows.items()),
        *([GPU_NOTE] if device.type == "cuda" else []),
        f"{profile.images / profile.epoch_sec:,.1f} training images/s, validation included",
        f"{profile.flops / 1e9:,.1f} GFLOP an epoch, {gflops:,.1f} GFLOP/s: "
        f"{gflops / profile.matrix_gflops:.0%} of the {profile.matrix_gflops:,.1f} GFLOP/s "
        f"that a matrix product in {profile.precision} reaches{threads}",
    ]


@command()
def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with `arguments`; returns the exit status."""
    options = parser().parse_args(arguments)
    device = _device(options.device)
    config = _config(options, device)
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    profile = measure(config, images=options.images, epochs=options.epochs, device=device)
    print("\n".join(lines(profile, device)))
    return 0


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog=prog("trainables.profile"), description="Where an epoch's time goes."
    )
    add = parser.add_argument
    add(
        "--model",
        default="fc",
        help=f"{', '.join(NETWORKS)}, package.module:Class or path/file.py:Class (default: fc)",
    )
    add("--images", type=int, help="training images (default: as many as take a few seconds)")
    add("--batch-size", type=int, help="images per update (default: the network's own)")
    add(
        "--precision",
        choices=("auto", *PRECISIONS),
        default="auto",
        help="(default: auto, as a search chooses)",
    )
    add("--threads", type=int, help="CPU threads (default: one a core; a search's trials have 1)")
    add(
        "--device",
        choices=("auto", "cpu", "cuda"),
        default="auto",
        help="(default: a GPU if there is one)",
    )
    add(
        "--epochs",
        type=int,
        default=3,
        help="that are timed, and as many part by part (default: 3)",
    )
    add(
        "--loss",
        default="mse",
        help=f"{', '.join(LOSSES)}, package.module:function or path/file.py:function "
        f"(default: mse)",
    )
    add(
        "--perceptual-size",
        type=int,
        default=Perceptual.size,
        help="side of what VGG16 sees (default: %(default)s)",
    )
    return parser


def _config(options: argparse.Namespace, device: torch.device) -> TrainingConfig:
    """Return the training that is profiled.

    Raises UsageError where an option makes no sense, or the network can't be trained.
    """
    least = {"images": 1, "batch_size": 1, "threads": 1, "epochs": 1, "perceptual_size": SMALLEST}
    for name, limit in least.items():
        value = getattr(options, name)
        if value is not None and value < limit:
            raise UsageError(f"{flag(name)} ≥ {limit} must hold, but got {value}")
    loss_registry.check(options.loss)
    if "," in options.loss:
        raise UsageError(f"--loss {options.loss}: give one of them")
    own = [] if options.loss in LOSSES else [options.loss]
    check(options.model, losses=own, precision=options.precision, device=device.type)
    network = find(options.model)
    space = space_of(network)
    chosen = chosen_of(values_of(space, {}))
    if "dropout" in chosen and space["dropout"].is_numeric:
        # Not zero, which a search draws next to never
        chosen["dropout"] = (space["dropout"].values[0] + space["dropout"].values[-1]) / 2
    return TrainingConfig(
        model=options.model,
        learning_rate=space["learning_rate"].values[0],
        chosen=chosen,
        max_epochs=1,
        seed=0,
        batch_size=options.batch_size or habits_of(network).batch_size,
        precision=options.precision,
        loss=options.loss,
        perceptual=Perceptual(size=options.perceptual_size),
    )


def _device(name: str) -> torch.device:
    """Return the device of that name. Raises UsageError where there is none."""
    has_gpu = torch.cuda.is_available()
    if name == "cuda" and not has_gpu:
        raise UsageError(
            "--device cuda: PyTorch finds no CUDA device here; give --device cpu or leave it out"
        )
    return torch.device(name if name != "auto" else "cuda" if has_gpu else "cpu")


if __name__ == "__main__":
    sys.exit(main())
