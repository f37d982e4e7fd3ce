"""The loss of a search: its flags, and the weights of VGG16 on their way to the trials."""

import re
import warnings
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from trainables.losses.loss_settings import LOSSES, Perceptual
from trainables.losses.vgg16 import NORMALISATIONS, Vgg16, load

if TYPE_CHECKING:
    from tuner.settings import SearchConfig

DEFAULT_WEIGHTS = "IMAGENET1K_V1"
# Settings of the perceptual loss, and what `Perceptual` calls them
SETTINGS = {
    "perceptual_layers": "layers",
    "perceptual_weights": "layer_weights",
    "mse_weight": "mse_weight",
    "perceptual_size": "size",
}
FLAGS = {
    name: "--" + name.replace("_", "-") for name in (*SETTINGS, "vgg_weights", "vgg_normalisation")
}


def check(config: "SearchConfig") -> None:
    """Raises ValueError with one sentence for the first flag of the loss that makes no sense."""
    for name in config.losses:
        if name not in LOSSES:
            raise ValueError(
                f"--loss {config.loss}: choose one of {', '.join(LOSSES)}, or both as {','.join(LOSSES)}"
            )
    if len(set(config.losses)) < len(config.losses):
        raise ValueError(f"--loss {config.loss}: name each loss once")
    if config.resume is not None:
        return  # the rest must be what the run began with, and was checked then
    given = [flag for name, flag in FLAGS.items() if getattr(config, name) is not None]
    if given and "perceptual" not in config.losses:
        raise ValueError(
            f"{' and '.join(given)}: --loss {config.loss} does not use that; add --loss perceptual, or leave it out"
        )
    if config.vgg_normalisation not in (None, *NORMALISATIONS):
        raise ValueError(
            f"--vgg-normalisation {config.vgg_normalisation}: choose one of {', '.join(NORMALISATIONS)}"
        )
    try:
        perceptual(config)
    except ValueError as error:
        flags = {of: FLAGS[name] for name, of in SETTINGS.items()}
        raise ValueError(
            re.sub(rf"\b({'|'.join(flags)})\b", lambda name: flags[name[0]], str(error))
        ) from None


def perceptual(config: "SearchConfig") -> Perceptual:
    """The perceptual loss that the flags ask for. Raises ValueError where it makes no sense."""
    given: dict[str, Any] = {of: getattr(config, name) for name, of in SETTINGS.items()}
    if config.perceptual_layers is not None and config.perceptual_weights is None:
        given["layer_weights"] = (1.0,) * len(config.perceptual_layers)
    return Perceptual(**{name: value for name, value in given.items() if value is not None})


def settled(config: "SearchConfig") -> dict[str, Any]:
    """The settings of the loss with the defaults in their places, as the run's table is to have them."""
    if "perceptual" not in config.losses:
        return {}
    values = asdict(perceptual(config))
    found = {name: values[of] for name, of in SETTINGS.items()}
    return {**found, "vgg_weights": config.vgg_weights or DEFAULT_WEIGHTS}


def weights(config: "SearchConfig") -> Vgg16 | None:
    """The weights that the loss needs, if it needs any. Raises ValueError when they can't be had."""
    if "perceptual" not in config.losses:
        return None
    source, through = config.vgg_weights or DEFAULT_WEIGHTS, max(perceptual(config).layers)
    return load(source, normalisation=config.vgg_normalisation, through=through)


def training_settings(config: "SearchConfig") -> dict[str, Any]:
    """What TrainingConfig takes of them, whichever loss a trial has."""
    return {"perceptual": perceptual(config)} if "perceptual" in config.losses else {}


@dataclass(frozen=True)
class SharedVgg16:
    """VGG16 in the object store, as NumPy arrays: tensors would be copied into every process."""

    arrays: Any
    """Object reference: arrays by name."""
    rest: Vgg16
    """Everything else about it."""


def share(vgg: Vgg16 | None) -> SharedVgg16 | None:
    """Put the weights into the object store, from which every node fetches them once."""
    import ray

    if vgg is None:
        return None
    arrays = {name: tensor.numpy() for name, tensor in vgg.tensors.items()}
    return SharedVgg16(ray.put(arrays), replace(vgg, tensors={}))


def shared(held: SharedVgg16 | None) -> Vgg16 | None:
    """The weights as views of the node's object store, so never written to."""
    return None if held is None else replace(held.rest, tensors=_tensors(held.arrays))


@lru_cache(maxsize=1)
def _tensors(reference: Any) -> Any:
    import ray
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # "not writable": that is the point
        return {name: torch.from_numpy(array) for name, array in ray.get(reference).items()}
