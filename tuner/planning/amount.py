"""What a person leaves open: how much a search does, its batches, and what its loss is made of."""

from collections.abc import Mapping, Sized
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tuner.settings import (
    DEFAULT_VGG_WEIGHTS,
    GRACE_EPOCHS,
    PERCEPTUAL,
    UNSTOPPED,
    SearchConfig,
)

if TYPE_CHECKING:  # they import PyTorch
    from trainables.networks.base import Budget
    from trainables.training.network_facts import NetworkFacts

# What each network of --model auto gets: on 2 CPU cores a search that a person will wait for
EACH_ON_CPU: Mapping[str, Any] = {"samples": 3, "max_epochs": 6, "images": 6_000}
EACH_ON_GPU: Mapping[str, Any] = {"samples": 16, "max_epochs": 30}


def budget(networks: "Mapping[str, NetworkFacts]", gpus: float) -> "Budget":
    """Return how much a search does unless it is asked for something else.

    Several networks get as many trials each, and the same images and epochs, so that they compare.

    Args:
        networks: Those that are trained.
        gpus: How many are in the cluster.
    """
    from trainables.networks.base import Budget  # here, since it imports PyTorch

    if len(networks) == 1:
        (facts,) = networks.values()
        return facts.habits.gpu if gpus else facts.habits.cpu
    each = EACH_ON_GPU if gpus else EACH_ON_CPU
    return Budget(**{**each, "samples": each["samples"] * len(networks)})


def completed(
    config: SearchConfig,
    networks: "Mapping[str, NetworkFacts]",
    *,
    gpus: float,
    data: str,
    train_images: int,
) -> SearchConfig:
    """Return the settings with the amount of work filled in, and what the loss is made of.

    Args:
        config: The settings as they were asked for.
        networks: Those that are trained.
        gpus: How many are in the cluster.
        data: Where the images were found.
        train_images: How many there are to train on.
    """
    usual = budget(networks, gpus)
    batch_sizes = {facts.habits.batch_size for facts in networks.values()}
    max_epochs = config.max_epochs or max(usual.max_epochs, config.grace_epochs or 1)
    grace_epochs = None if config.scheduler == UNSTOPPED else min(GRACE_EPOCHS, max_epochs)
    loss = {}
    if "perceptual" in config.losses:
        loss = {
            **{ours: getattr(config.perceptual, theirs) for ours, theirs in PERCEPTUAL.items()},
            "vgg_weights": config.vgg_weights or DEFAULT_VGG_WEIGHTS,
        }
    return replace(
        config,
        data=data,
        images=config.images or min(usual.images or train_images, train_images),
        samples=config.samples or usual.samples,
        max_epochs=max_epochs,
        grace_epochs=config.grace_epochs or grace_epochs,
        # Several networks may each have their own
        batch_size=config.batch_size or (batch_sizes.pop() if len(batch_sizes) == 1 else None),
        **loss,
    )


def least_samples(networks: Sized, config: SearchConfig) -> int:
    """Return with how many trials each of several networks has one.

    They take turns as `network_of` has it: the last one begins when each before it has had every
    loss.

    Args:
        networks: Those that are trained, of which only the number counts.
        config: The settings, which name the losses.
    """
    return (len(networks) - 1) * len(config.losses) + 1
