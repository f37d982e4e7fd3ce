"""What can't work fails here, in seconds, with one sentence: what was asked, what there is, what to type."""

import netrc
import os
import tempfile
import time

from filelock import FileLock, Timeout

from analysis.console import Console, duration
from analysis.tables.bucket import Bucket
from trainables.data import sources
from trainables.errors import UsageError
from trainables.losses import vgg16
from tuner.cluster import ray_cluster
from tuner.cluster.ray_cluster import Growth, Node, Share
from tuner.settings import DEFAULT_VGG_WEIGHTS, SearchConfig
from tuner.storage.run_storage import RunStorage

DEFAULT_GPU_SHARE = 0.25  # these networks are small: four trials keep one GPU busier than one does
GROUP_GPU_SHARE = 1.0  # NCCL refuses two workers of a trial on one GPU
WANDB_HOST = "api.wandb.ai"
POLL_SEC = 0.5
DASHBOARD_SEC = 20


def check_storage(run: RunStorage, *, resumes: bool = False) -> None:
    """The storage takes files, and a new run's name is free. Raises UsageError otherwise."""
    try:
        if run.experiment.is_in_bucket:
            Bucket(run.storage).try_writing(run.name)
        run.directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=run.directory) as file:
            file.write(b"\0" * 4096)
            file.flush()
    except OSError as error:
        reason = error.strerror or str(error).partition("\n")[0]
        kind = "bucket" if run.experiment.is_in_bucket else "directory"
        raise UsageError(
            f"--storage {run.storage} can't be written ({reason}): give another {kind}"
        ) from error
    if not resumes and (run.experiment.sessions() or run.rows("runs")):
        raise UsageError(
            f"--name {run.name}: {run.storage} already has a run of that name; "
            f"give another one, or go on with it: --resume {run.name}"
        )


def lock_run(run: RunStorage) -> FileLock:
    """Hold the run for this process until it ends. Raises UsageError when another process has it."""
    locks = run.directory / "experiments"
    locks.mkdir(parents=True, exist_ok=True)
    lock = FileLock(locks / f".{run.name}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise UsageError(
            f"the run {run.name} is being searched by another process: wait for it or stop it"
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
        raise ValueError(
            "--wandb online needs a key, and there is none: type `wandb login` first, or --wandb offline"
        )


def check_sources(config: SearchConfig) -> None:
    """Images and VGG16's weights are where the person says. Raises ValueError otherwise, before Ray is started."""
    sources.check(config.data)
    if "perceptual" in config.losses:
        vgg16.check(config.vgg_weights or DEFAULT_VGG_WEIGHTS)


def check_waiting(config: SearchConfig) -> None:
    """There is a cluster whose nodes can be waited for. Raises ValueError otherwise."""
    if config.wait_for_nodes and config.address is None:
        raise ValueError(
            f"--wait-for-nodes {config.wait_for_nodes}: without --address there is one node; "
            f"leave --wait-for-nodes out, or give --address"
        )


def wait_for_nodes(config: SearchConfig, growth: Growth, console: Console) -> None:
    """Until as many nodes that can train are up as --wait-for-nodes asks.

    Raises ValueError when they have not come within --wait-sec.
    """
    wanted = config.wait_for_nodes
    if wanted is None:
        return
    nodes = ray_cluster.nodes()
    share = trial_share(config, [*nodes, *growth.nodes])
    roomiest = sorted(
        (share.fits(node) for node in [*nodes, *growth.beside(nodes, share)]), reverse=True
    )
    ray_cluster.ask_for(
        share, sum(roomiest[:wanted])
    )  # an autoscaler starts nodes only for what waits for them
    try:
        _wait(config, wanted, growth, console)
    finally:
        ray_cluster.ask_for(share, 0)


def _wait(config: SearchConfig, wanted: int, growth: Growth, console: Console) -> None:
    until = time.monotonic() + config.wait_sec
    with console:
        while (up := _able_now(config, growth)) < wanted:
            left = until - time.monotonic()
            if left <= 0:
                raise ValueError(
                    f"--wait-for-nodes {wanted}: {up} that can train came within {config.wait_sec:g} s; "
                    f"give a longer --wait-sec or another --wait-for-nodes, or leave it out"
                )
            console.progress(
                f"{up} of {wanted} nodes that can train are up; waits {duration(left)} more"
            )
            time.sleep(POLL_SEC)


def _able_now(config: SearchConfig, growth: Growth) -> int:
    nodes = ray_cluster.nodes()
    return len(
        able(nodes, trial_share(config, [*nodes, *growth.nodes]))
    )  # the first GPU changes the share


def able(nodes: list[Node], share: Share) -> list[Node]:
    """The nodes that can train: a head may have nothing for trials."""
    return [node for node in nodes if share.fits(node)]


def check_groups(config: SearchConfig, nodes: list[Node]) -> None:
    """Worker groups can be cleared away: Ray asks its dashboard, from the head, which of them are still in use.

    Raises ValueError otherwise: each group that ASHA stops would hold its cores for ever.
    """
    if config.workers_per_trial == 1 or config.address is None:
        return
    answers = ray_cluster.on_each([node for node in nodes if node.head], _ask_dashboard)
    if any(isinstance(answer, Exception) for answer in answers):
        raise ValueError(
            f"--workers-per-trial {config.workers_per_trial}: Ray's dashboard does not answer on the head, and without "
            f"it stopped trials keep their cores; start the head with `ray start --head --include-dashboard=true`, "
            f"or leave --workers-per-trial out"
        )


def _ask_dashboard() -> None:
    from ray.util.state import list_nodes

    list_nodes(limit=1, timeout=DASHBOARD_SEC)


def trial_share(config: SearchConfig, nodes: list[Node]) -> Share:
    """What each worker of a trial gets: as asked, or a share of a GPU where there are any."""
    gpus = config.gpus_per_trial
    if gpus is None:
        share = DEFAULT_GPU_SHARE if config.workers_per_trial == 1 else GROUP_GPU_SHARE
        gpus = share if any(node.gpus for node in nodes) else 0.0
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
            raise ValueError(
                f"{name} {asked:g}: there are no {unit} in the cluster; leave {name} out"
            )
        if asked > most:
            raise ValueError(
                f"{name} {asked:g}: no node has more than {most:g} {unit}; give at most {name} {most:g}"
            )
    if config.workers_per_trial > 1 and 0 < share.gpus <= 0.5:
        raise ValueError(
            f"--gpus-per-trial {share.gpus:g}: two workers of a trial would share a GPU, which NCCL refuses; "
            f"give more than 0.5, or leave --workers-per-trial out"
        )
    workers = sum(share.fits(node) for node in nodes)
    fits = workers // config.workers_per_trial
    if not workers:
        raise ValueError(
            "no single node has the CPUs, GPUs and memory asked for per trial: ask for less"
        )
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
