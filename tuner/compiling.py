"""Whether the trials of a search train through torch.compile: decided once, so that all of them compute alike."""

from dataclasses import replace
from typing import Any

import torch

from analysis.console import Console
from trainables import compiling
from trainables.compiling import Verdict
from trainables.registry import find
from trainables.training import Examples, TrainingConfig
from tuner.cluster import Share
from tuner.config import SearchConfig

CPU = torch.device("cpu")


def settled(config: SearchConfig, share: Share, train: Examples, console: Console) -> SearchConfig:
    """The search with `compile` on or off. Measured where a trial is long enough for it to pay, and told then.

    GPUs replay CUDA graphs instead, and VGG16, not the network, takes the time of the perceptual loss.
    """
    if config.compile != "auto":
        return config
    if share.gpus or "mse" not in config.losses:
        return replace(config, compile="off")
    count = min(find(config.model).defaults.cpu_slice or len(train), config.batch_size or len(train), len(train))
    batch = Examples(train.images[:count], train.targets[:count])
    training = TrainingConfig(
        model=config.model,
        learning_rate=1e-4,
        max_epochs=config.max_epochs or 1,
        seed=config.seed,
        batch_size=count,
        precision=config.precision,
    )
    if not compiling.may_pay(_training_sec(training, batch, len(train), share)):
        return replace(config, compile="off")
    console.progress("measuring whether torch.compile pays")
    found = _measured(training, batch, len(train), share)
    console.line(f"torch.compile is {'used' if found.compiled else 'not used'}: {found.reason}")
    return replace(config, compile="on" if found.compiled else "off")


def _training_sec(config: TrainingConfig, batch: Examples, images: int, share: Share) -> float:
    """Of the longest trial, as this process would do it with a trial's threads."""
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
