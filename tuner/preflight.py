"""What can't work fails here, in seconds, with one sentence: what was asked, what there is, what to type."""

import netrc
import os
import tempfile
from pathlib import Path

from filelock import FileLock, Timeout

from analysis.tables import rows_of
from tuner.cluster import Node, Share
from tuner.config import SearchConfig

DEFAULT_GPU_SHARE = 0.25  # these networks are small: four trials keep one GPU busier than one does
WANDB_HOST = "api.wandb.ai"


def check_storage(config: SearchConfig) -> None:
    """The storage takes files, and the run's name is free. Raises ValueError otherwise."""
    storage = Path(config.storage)
    try:
        storage.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=storage) as file:
            file.write(b"\0" * 4096)
            file.flush()
    except OSError as error:
        raise ValueError(f"--storage {storage} can't be written ({error.strerror}): give another directory") from error
    if config.resume is None and (config.experiment.exists() or rows_of(config.tables, "runs", config.name)):
        raise ValueError(
            f"--name {config.name}: {storage} already has a run of that name; "
            f"give another one, or go on with it: --resume {config.name}"
        )


def lock_run(config: SearchConfig) -> FileLock:
    """Hold the run for this process until it ends. Raises ValueError when another process has it."""
    config.experiment.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(config.experiment.with_name(f".{config.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise ValueError(
            f"the run {config.name} is being searched by another process: wait for it or stop it"
        ) from None
    return lock


def check_wandb(config: SearchConfig) -> None:
    """Online tracking has a key. Raises ValueError otherwise."""
    if config.wandb != "online" or os.environ.get("WANDB_API_KEY"):
        return
    try:
        known = netrc.netrc().authenticators(WANDB_HOST)
    except (OSError, netrc.NetrcParseError):
        known = None
    if known is None:
        raise ValueError("--wandb online needs a key, and there is none: type `wandb login` first, or --wandb offline")


def trial_share(config: SearchConfig, nodes: list[Node]) -> Share:
    """What each worker of a trial gets: as asked, or a share of a GPU where there are any."""
    gpus = config.gpus_per_trial
    if gpus is None:
        gpus = DEFAULT_GPU_SHARE if any(node.gpus for node in nodes) else 0.0
    return Share(config.cpus_per_trial, gpus, config.memory_gib_per_trial)


def trials_at_once(config: SearchConfig, share: Share, nodes: list[Node]) -> int:
    """How many trials fit into the cluster at once. Raises ValueError when none, or fewer than asked.

    Ray itself would wait for ever.
    """
    asks = (
        ("--gpus-per-trial", share.gpus, max(node.gpus for node in nodes), "GPUs"),
        ("--cpus-per-trial", share.cpus, max(node.cpus for node in nodes), "CPUs"),
        ("--memory-gib-per-trial", share.memory_gib, max(node.memory_gib for node in nodes), "GiB"),
    )
    for name, asked, most, unit in asks:
        if asked > most == 0:
            raise ValueError(f"{name} {asked:g}: there are no {unit} in the cluster; leave {name} out")
        if asked > most:
            raise ValueError(f"{name} {asked:g}: no node has more than {most:g} {unit}; give at most {name} {most:g}")
    workers = sum(share.fits(node) for node in nodes)
    fits = workers // config.workers_per_trial
    if not workers:
        raise ValueError("no single node has the CPUs, GPUs and memory asked for per trial: ask for less")
    if not fits:
        raise ValueError(
            f"--workers-per-trial {config.workers_per_trial}: the cluster has room for {workers}; "
            f"give at most --workers-per-trial {workers}"
        )
    if config.concurrency is not None and config.concurrency > fits:
        raise ValueError(
            f"--concurrency {config.concurrency}: {fits} trials fit at once; "
            f"give at most --concurrency {fits}, or less per trial"
        )
    return fits
