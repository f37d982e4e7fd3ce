"""What is loaded while Ray starts: VGG16's weights, the targets, and the networks tried out."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from trainables.data import sources
from trainables.data.images import Images
from trainables.data.pairs import PairSet
from trainables.errors import at_once
from trainables.own_process import OwnProcess, Say
from trainables.tasks import STUDY
from trainables.training.try_out import TryOut
from tuner import trace
from tuner.settings import DEFAULT_VGG_WEIGHTS, SearchConfig

if TYPE_CHECKING:  # they import PyTorch
    from trainables.data.examples import Splits
    from trainables.losses.vgg16_weights import Vgg16
    from trainables.training.network_facts import NetworkFacts

    # VGG16, where the loss needs it; the images with their targets; each network by name
    Loaded = tuple[Vgg16 | None, Splits, dict[str, NetworkFacts]]


def load(
    config: SearchConfig,
    images: Images | PairSet,
    pipeline: OwnProcess | None,
    network: TryOut,
    progress: Say,
) -> "Loaded":
    """Read VGG16's weights, where the loss needs them, make targets, and wait for the networks.

    Imports PyTorch. Raises UsageError with all the reasons why they can't be had.

    Args:
        config: The settings as they were asked for.
        images: What `check_early` returned.
        pipeline: As `catalogue.started` returned it.
        network: What tries those of the search out.
        progress: Gets lines of it while targets are made.
    """
    with trace.span("importing PyTorch"):
        from trainables.data import loading

    is_study = config.pipeline == STUDY.pipeline and config.size == sources.SIZE
    known_task = is_study and config.pairs is None
    network.start(STUDY if known_task else None)  # else it waits for what probing shows

    def said(line: str) -> None:
        network.check()  # targets may take minutes
        progress(line)

    make_targets: Callable[[], Splits]
    if isinstance(images, PairSet):
        make_targets = partial(loading.with_recorded, images, config.images)
    else:
        make_targets = partial(
            loading.with_targets,
            images,
            config.images,
            pipeline=config.pipeline,
            takes=config.takes,
            process=pipeline,
            progress=said,
        )
    checks: list[Callable[[], Any]] = [partial(_load_vgg, config), make_targets]
    with trace.span("targets and networks"):
        if known_task:
            vgg, data, facts = at_once(*checks, partial(network.facts, STUDY))
        else:
            vgg, data = at_once(*checks)
            facts = network.facts(data.task)
    return vgg, data, facts


def _load_vgg(config: SearchConfig) -> "Vgg16 | None":
    from trainables.losses import vgg16_weights

    if "perceptual" not in config.losses:
        return None
    return vgg16_weights.load(
        config.vgg_weights or DEFAULT_VGG_WEIGHTS,
        normalisation=config.vgg_normalisation,
        through=max(config.perceptual.layers),
    )
