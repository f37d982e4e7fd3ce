"""Whether the trials of a search train through torch.compile: decided once, so that all of them compute alike."""

import math
from dataclasses import replace
from typing import Any

import torch

from analysis.console import Console
from trainables.networks.registry import NETWORKS, find
from trainables.training import compiling
from trainables.training.compiling import Verdict
from trainables.training.loop import Examples, TrainingConfig
from tuner.cluster.ray_cluster import Share
from tuner.settings import SearchConfig
from tuner.trials.space import Space

CPU = torch.device("cpu")


def settled(config: SearchConfig, share: Share, train: Examples, console: Console) -> SearchConfig:
    """The search with `compile` on or off. Measured where a trial is long enough for it to pay, and told then.

    GPUs replay CUDA graphs instead, and VGG16, not the network, takes the time of the perceptual loss. A network of
    the person's own does as it likes, which is for trials and not for this process.
    """
    if config.compile != "auto":
        return config
    if share.gpus or "mse" not in config.losses or config.model not in NETWORKS:
        return replace(config, compile="off")
    images = max(1, len(train) // config.workers_per_trial)
    count = min(
        find(config.model).defaults.cpu_slice or images, config.batch_size or images, images
    )
    batch = Examples(train.images[:count], train.targets[:count])
    dropout = Space.of(config).dropout
    training = TrainingConfig(
        model=config.model,
        learning_rate=1e-4,
        dropout=sum(dropout) / 2 if dropout else 0.0,
        max_epochs=typical_epochs(config),
        seed=config.seed,
        batch_size=count,
        precision=config.precision,
    )
    if not compiling.may_pay(_training_sec(training, batch, images, share)):
        return replace(config, compile="off")
    console.progress("measuring whether torch.compile pays")
    found = _measured(training, batch, images, share)
    console.line(f"torch.compile is {'used' if found.compiled else 'not used'}: {found.reason}")
    return replace(config, compile="on" if found.compiled else "off")


def typical_epochs(config: SearchConfig) -> int:
    """Of a trial, rounded up: ASHA lets one in `reduction_factor` go on at each rung, and each compiles anew."""
    longest = config.max_epochs or 1
    rung, epochs, left = config.grace_epochs, float(min(config.grace_epochs, longest)), 1.0
    while rung < longest:
        left /= config.reduction_factor
        following = min(max(rung + 1, int(rung * config.reduction_factor)), longest)
        epochs, rung = epochs + left * (following - rung), following
    return math.ceil(epochs)


def _training_sec(config: TrainingConfig, batch: Examples, images: int, share: Share) -> float:
    """Of a typical trial, as this process would do it with a trial's threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(share.threads)
    try:
        return compiling.training_sec(config, batch, images=images, device=CPU)
    finally:
        torch.set_num_threads(threads)


def _measured(config: TrainingConfig, batch: Examples, images: int, share: Share) -> Verdict:
    """By a process with a trial's share of some node."""
    import ray

    task = ray.remote(num_cpus=share.cpus)(_measure)
    arrays = (batch.images.numpy(), batch.targets.numpy())
    try:
        found: Verdict = ray.get(task.remote(config, arrays, images, share.threads))
    except ray.exceptions.RayError as error:
        return Verdict(False, f"measuring it failed: {str(error).strip().splitlines()[-1]}")
    return found


def _measure(config: TrainingConfig, arrays: tuple[Any, Any], images: int, threads: int) -> Verdict:
    torch.set_num_threads(threads)
    batch = Examples(*(torch.tensor(array) for array in arrays))
    return compiling.verdict(config, batch, images=images, device=CPU)
