"""What names and files show to be impossible, before Ray starts; the images are read on the way."""

import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial

from trainables import own_code
from trainables.data import pairs, sources
from trainables.data.images import Images
from trainables.data.pairs import PairSet
from trainables.errors import UsageError, at_once, last_line
from trainables.losses import loss_settings
from trainables.networks.registry import NETWORKS, check_module, find
from trainables.own_process import Say
from trainables.pipelines import catalogue as pipelines
from tuner.planning.per_network import spaces_of
from tuner.settings import DEFAULT_VGG_WEIGHTS, SearchConfig
from tuner.trials.starting_points import points_of

WANDB_LOGIN = """
import sys
try:
    import wandb
    wandb.login(verify=False)
except Exception as error:
    sys.exit(" ".join(str(error).split()) or type(error).__name__)
"""


def check_early(config: SearchConfig, progress: Say | None = None) -> Images | PairSet:
    """Return the images, or the pairs, which are decoded if they are new.

    Raises UsageError for all that names and files show to be impossible.

    Args:
        config: The settings as they were asked for.
        progress: Gets lines of what is left to decode.
    """
    read: Callable[[], Images | PairSet] = partial(sources.read, config.data, config.size, progress)
    if config.pairs is not None:
        size = config.size if config.image_size else None  # their own
        read = partial(pairs.read, config.pairs, size, progress)
    names: list[Callable[[], object]] = [
        _check_warnings,
        partial(_check_wandb, config),
        partial(_check_waiting, config),
        *(partial(check_module, name) for name in config.models),
        *(partial(own_code.check_there, "--loss", name) for name in config.own_losses),
        *(partial(own_code.check_there, "--metric", name) for name in config.own_metrics),
        partial(pipelines.check, config.pipeline, config.takes),
        partial(_check_vgg, config),
        partial(_check_start, config),
    ]
    # Those have no mistake to find, but perhaps a long download
    if config.data in sources.SOURCES and config.pairs is None:
        at_once(*names)
        return read()
    found: Images | PairSet = at_once(*names, read)[-1]
    return found


def _check_warnings() -> None:
    warnings = os.environ.get("PYTHONWARNINGS", "")
    if "error" in warnings:
        raise UsageError(
            f"PYTHONWARNINGS={warnings}: Ray's own processes import what warns, and would end "
            f"there; unset PYTHONWARNINGS"
        )


def _check_wandb(config: SearchConfig) -> None:
    if config.wandb == "online" and (reason := _wandb_refusal()):
        raise UsageError(
            f"--wandb online: W&B is not logged in ({reason}); type `wandb login` "
            f"first, or --wandb offline"
        )


def _wandb_refusal() -> str:
    """Return why W&B would take nothing; empty where it is logged in.

    It is asked itself, since it looks in several files and variables, and in a process of its own,
    since it leaves threads behind. It asks nobody over the network, and no person, since there is
    no terminal.
    """
    asked = subprocess.run(
        [sys.executable, "-c", WANDB_LOGIN],
        env={**os.environ, "WANDB_MODE": "online", "WANDB_SILENT": "true"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    return last_line(asked.stderr).rstrip(".") if asked.returncode else ""


def _check_waiting(config: SearchConfig) -> None:
    if config.wait_for_nodes and config.address is None:
        raise UsageError(
            f"--wait-for-nodes {config.wait_for_nodes}: without --address there is one node; "
            f"leave --wait-for-nodes out, or give --address"
        )


def _check_vgg(config: SearchConfig) -> None:
    if "perceptual" in config.losses:
        loss_settings.check_weights(config.vgg_weights or DEFAULT_VGG_WEIGHTS)


def _check_start(config: SearchConfig) -> None:
    """Raise UsageError for a point of `--start` that no network has.

    What spaces networks of a person's own have, only their own process finds out, beside Ray's
    start.
    """
    if config.start is None or config.resume is not None or not set(config.models) <= set(NETWORKS):
        return
    # Here, since it imports PyTorch: who gives --start waits that long for Ray, and no mistake does
    from trainables.training.network_facts import NetworkFacts

    networks = {name: NetworkFacts.of(find(name)) for name in config.models}
    points_of(config.start, spaces_of(config, networks))
