"""What a search will do: its settings fitted to the machine, to the images and to what was done before."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from analysis.tables.files import Row
from trainables.errors import UsageError
from trainables.losses import vgg16
from trainables.losses.vgg16 import Vgg16
from trainables.networks.registry import find
from tuner import gpu_memory, preflight
from tuner.cluster.ray_cluster import Growth, Node, Share
from tuner.settings import DEFAULT_VGG_WEIGHTS, PERCEPTUAL, SearchConfig
from tuner.storage.shared_storage import check_shared

if TYPE_CHECKING:
    from trainables.data.examples import Splits
    from trainables.networks.base import Budget


@dataclass(frozen=True)
class Plan:
    """A search that can work: complete settings, images, and what each trial gets."""

    config: SearchConfig
    data: "Splits"
    share: Share
    fits: int
    nodes: list[Node]
    """Those that are up, and those that the cluster may grow by."""
    earlier: Row | None
    """The runs table's row of the session before, when this one resumes."""
    vgg: Vgg16 | None
    """What the perceptual loss needs."""
    gpu_memory: str
    """The line about it; empty without GPUs."""
    available_images: int
    """Training images that there are; the search may use fewer."""


def plan(
    config: SearchConfig, loaded: "tuple[Vgg16 | None, Splits]", up: list[Node], growth: Growth
) -> Plan:
    """Fit the search to the cluster, grown as far as it may, and to the images. Raises ValueError where it does not."""
    vgg, data = loaded
    share = preflight.trial_share(config, [*up, *growth.nodes])
    nodes = [*up, *growth.beside(up, share)]
    fits = preflight.trials_at_once(config, share, nodes)
    complete = completed(
        config,
        gpus=sum(node.gpus for node in nodes),
        data=config.data if config.data != "auto" else data.train.source,
        train_images=len(data.train),
    )
    used = data.cut(complete.images or len(data.train))
    earlier = next(iter(config.run_storage.rows("runs")), None)
    if earlier is not None and earlier["train_fingerprint"] != used.train.fingerprint:
        raise UsageError(
            f"--resume {config.name}: {config.data} now holds other images than when the run was "
            f"started: bring those back, or start a new run without --resume"
        )
    if len(up) > 1:
        check_shared(config.storage, preflight.able(up, share))
    preflight.check_groups(config, up)
    memory = gpu_memory.check(
        complete, share, len(used.train), len(used.validation), preflight.able(up, share)
    )
    return Plan(complete, used, share, fits, nodes, earlier, vgg, memory, len(data.train))


def load_vgg16(config: SearchConfig) -> Vgg16 | None:
    """Return the weights that the loss needs, if any. Raises ValueError when they can't be had."""
    if "perceptual" not in config.losses:
        return None
    return vgg16.load(
        config.vgg_weights or DEFAULT_VGG_WEIGHTS,
        normalisation=config.vgg_normalisation,
        through=max(config.perceptual.layers),
    )


def budget(model: str, gpus: float) -> "Budget":
    """Return how much a search of this network does where there are GPUs, or where there are none."""
    defaults = find(model).defaults
    return defaults.gpu if gpus else defaults.cpu


def completed(config: SearchConfig, *, gpus: float, data: str, train_images: int) -> SearchConfig:
    """Return the settings with the amount of work filled in, and what the loss is made of.

    Raises UsageError for a hyperparameter that the network doesn't have.

    Args:
        config: The settings as they were asked for.
        gpus: How many are in the cluster.
        data: Where the images were found.
        train_images: How many there are to train on.
    """
    defaults, usual = find(config.model).defaults, budget(config.model, gpus)
    for name in config.ranges:
        if getattr(defaults, name) is None:
            raise UsageError(f"--{name}: {config.model} has no {name}; leave the flag out")
    loss = {}
    if "perceptual" in config.losses:
        made_of = config.perceptual
        loss = {ours: getattr(made_of, theirs) for ours, theirs in PERCEPTUAL.items()}
        loss["vgg_weights"] = config.vgg_weights or DEFAULT_VGG_WEIGHTS
    return replace(
        config,
        data=data,
        images=config.images or min(usual.images or train_images, train_images),
        samples=config.samples or usual.samples,
        max_epochs=config.max_epochs or max(usual.max_epochs, config.grace_epochs),
        batch_size=config.batch_size or defaults.batch_size,
        **loss,
    )
