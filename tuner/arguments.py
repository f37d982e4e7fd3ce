"""The command line of `python -m tuner.run`, and how it meets the settings of a run that goes on."""

import argparse
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from analysis.tables.bucket import local_directory
from analysis.tables.files import rows_of
from trainables.command_line import prog
from trainables.losses.loss_settings import LOSSES
from trainables.losses.vgg16 import NORMALISATIONS, PUBLISHED
from trainables.networks.registry import NETWORKS
from trainables.training.early_stopping import CRITERIA
from tuner.loss_flags import DEFAULT_WEIGHTS
from tuner.settings import (
    CHANGEABLE_ON_RESUME,
    COMPILE,
    PRECISIONS,
    SEARCHES,
    TIMINGS,
    WANDB_MODES,
    SearchConfig,
    flag,
)


def parser() -> argparse.ArgumentParser:
    """Flags that are not given leave no trace, so that `--resume` can tell them from defaults."""
    parser = argparse.ArgumentParser(
        prog=prog("tuner.run"),
        description="Search the hyperparameters with which a small network replaces the image pipeline.",
        argument_default=argparse.SUPPRESS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="examples:\n"
        "  python -m tuner.run --model separable\n"
        "  python -m tuner.run --model cnn --samples 32 --gpus-per-trial 0.25 --address auto\n"
        "  python -m tuner.run --resume fc-20260101-120000",
    )
    _add_what(parser)
    _add_loss(parser)
    _add_space(parser)
    _add_resources(parser)
    _add_run(parser)
    return parser


def _add_what(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what is searched")
    add = group.add_argument
    add("--model", help=f"{', '.join(NETWORKS)}, or package.module:Class (default: fc)")
    add(
        "--data",
        help="cifar10, photos, a directory, or auto: CIFAR-10 if it can be had, else photos (default)",
    )
    add("--images", type=int, help="training images (default: all; fewer for cnn without a GPU)")
    add(
        "--samples", type=int, help="trials (default: the network's own, more where there is a GPU)"
    )
    add(
        "--max-epochs",
        type=int,
        help="epochs of a trial that nothing stops (default: the network's own)",
    )
    add("--grace-epochs", type=int, help="epochs before ASHA may stop a trial (default: 1)")
    add(
        "--reduction-factor",
        type=float,
        help="ASHA keeps one trial in this many at each rung (default: 3)",
    )
    add("--search", help=f"{' or '.join(SEARCHES)} (default: random; tpe is Optuna's)")
    add("--early-stopping", help=f"{' or '.join(CRITERIA)} (default: best)")
    add("--seed", type=int, help="from which every trial's own seed is derived (default: 0)")
    add("--finalists", type=int, help="best trials to evaluate on the test split (default: 3)")
    add("--confirm-seeds", type=int, help="train each finalist this many times more (default: 0)")


def _add_loss(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("the loss")
    add = group.add_argument
    add("--loss", help=f"{' or '.join(LOSSES)}; {','.join(LOSSES)} searches it too (default: mse)")
    add(
        "--perceptual-layers",
        type=int,
        nargs="+",
        metavar="N",
        help="of VGG16 (default: 2 7 14 21 28)",
    )
    add(
        "--perceptual-weights",
        type=float,
        nargs="+",
        metavar="W",
        help="one for each of them (default: 1 each)",
    )
    add(
        "--mse-weight",
        type=float,
        metavar="W",
        help="of the mean squared error beside them (default: 1)",
    )
    add(
        "--perceptual-size",
        type=int,
        metavar="PIXELS",
        help="side of the images that VGG16 sees (default: 224)",
    )
    add(
        "--vgg-weights",
        metavar="WEIGHTS",
        help=f"{', '.join(PUBLISHED)} (fetched once), or a file (default: {DEFAULT_WEIGHTS})",
    )
    add(
        "--vgg-normalisation",
        help=f"{' or '.join(NORMALISATIONS)}, for a file that does not say which it expects",
    )


def _add_space(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("ranges, each two numbers; equal ones fix the value")
    for name, type_ in (("learning-rate", float), ("dropout", float), ("patience", int)):
        group.add_argument(f"--{name}", type=type_, nargs=2, metavar=("LOW", "HIGH"))
    group.add_argument(
        "--batch-size", type=int, help="images per update; one number (default: 256)"
    )
    group.add_argument("--precision", help=f"{', '.join(PRECISIONS)} (default: auto)")
    group.add_argument(
        "--compile", help=f"{', '.join(COMPILE)}: torch.compile (default: auto, where it pays)"
    )


def _add_resources(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("resources")
    add = group.add_argument
    add("--cpus-per-trial", type=float, help="cores for each worker, and its threads (default: 1)")
    add(
        "--gpus-per-trial",
        type=float,
        help="share of a GPU for each worker (default: 0.25 if there are any)",
    )
    add(
        "--memory-gib-per-trial",
        type=float,
        help="memory to reserve for each worker (default: none)",
    )
    add("--workers-per-trial", type=int, help="data-parallel workers of each trial (default: 1)")
    add("--concurrency", type=int, help="trials at a time (default: as many as fit)")
    add("--address", help="a running Ray cluster, as `auto` or host:port (default: start one here)")
    add(
        "--wait-for-nodes",
        type=int,
        metavar="N",
        help="start when so many nodes that can train are up",
    )
    add("--wait-sec", type=float, metavar="SEC", help="how long to wait for them (default: 900)")


def _add_run(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("the run")
    add = group.add_argument
    add("--name", help="of the run (default: model, date and time)")
    add(
        "--storage",
        metavar="DIR",
        help="for tables, checkpoints, networks; s3://BUCKET/PATH too (default: results)",
    )
    add("--resume", metavar="NAME", help="go on with a run that was interrupted")
    add(
        "--timeout",
        type=float,
        metavar="SEC",
        help="end the search after this long with what it has",
    )
    add("--wandb", help=f"{', '.join(WANDB_MODES)} (default: offline)")
    add(
        "--timing",
        help=f"{' or '.join(TIMINGS)}: time the best network after the search (default: short)",
    )
    add("-v", "--verbose", action="store_true", help="show Ray's own messages")


def from_command_line(arguments: Sequence[str]) -> SearchConfig:
    """The search that a command line asks for; the settings of an earlier run where it resumes one.

    Raises ValueError with one sentence for what makes no sense, and SystemExit as argparse does.
    """
    given = vars(parser().parse_args(arguments))
    given = {
        name: tuple(value) if isinstance(value, list) else value for name, value in given.items()
    }
    if "resume" in given:
        return _resumed(given)
    config = SearchConfig(**given)
    if config.name:
        return config
    model = config.model.rpartition(":")[2].lower().strip("_")
    return replace(config, name=f"{model}-{datetime.now():%Y%m%d-%H%M%S}")


def _resumed(given: dict[str, Any]) -> SearchConfig:
    asked = SearchConfig(**given)  # reports what makes no sense by itself
    name = asked.resume or ""
    local_directory(asked.storage, name)
    rows = rows_of(asked.run_storage.tables, "runs", name)
    if not rows:
        raise ValueError(
            f"--resume {name}: there is no such run in {asked.storage}; {_runs_in(asked.run_storage.tables)}"
        )
    earlier = SearchConfig.from_json(rows[0]["config"])
    was = asdict(earlier)
    changed = [
        f"{flag(key)} was {was[key]}, is {value}"
        for key, value in given.items()
        if key not in CHANGEABLE_ON_RESUME and value != was[key]
    ]
    if changed:
        raise ValueError(
            f"--resume {name} with other settings: {'; '.join(changed)}: leave them out to go on, "
            f"or start a new run without --resume"
        )
    changes = {key: value for key, value in given.items() if key in CHANGEABLE_ON_RESUME}
    return replace(earlier, **{"timeout": None, "storage": asked.storage, **changes})


def _runs_in(tables: Path) -> str:
    runs = sorted(path.name.removeprefix("run=") for path in tables.glob("runs/run=*"))
    return (
        f"there are {', '.join(runs[-5:])}"
        if runs
        else "there is none yet: leave --resume out to start one"
    )
