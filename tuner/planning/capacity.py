"""What the cluster has for trials: how much for each, how many at once, worker groups at all."""

from collections.abc import Sequence

from trainables.errors import UsageError
from tuner.cluster.nodes import Node, WorkerResources, on_each
from tuner.settings import SearchConfig

DEFAULT_GPUS = 0.25  # these networks are small: four trials keep one GPU busier than one does
GROUP_GPUS = 1.0  # NCCL refuses two workers of a trial on one GPU
DASHBOARD_SEC = 20


def worker_resources(config: SearchConfig, nodes: Sequence[Node]) -> WorkerResources:
    """Return what each worker gets: as asked, or part of a GPU where there are any.

    Args:
        config: The settings as they were asked for.
        nodes: Those that are up, and those that the cluster may grow by.
    """
    gpus = config.gpus_per_trial
    if gpus is None:
        usual = DEFAULT_GPUS if config.workers_per_trial == 1 else GROUP_GPUS
        gpus = usual if any(node.gpus for node in nodes) else 0.0
    return WorkerResources(config.cpus_per_trial, gpus, config.memory_gib_per_trial)


def slots_for(config: SearchConfig, resources: WorkerResources, nodes: Sequence[Node]) -> int:
    """Return how many trials these nodes run at once.

    Raises UsageError when it is none, or fewer than asked: Ray itself would wait for ever.

    Args:
        config: The settings as they were asked for.
        resources: What each worker of a trial gets.
        nodes: Those that are up, and those that the cluster may grow by.
    """
    asks = (
        ("--gpus-per-trial", resources.gpus, max(node.gpus for node in nodes), "GPUs"),
        ("--cpus-per-trial", resources.cpus, max(node.cpus for node in nodes), "CPUs"),
        (
            "--memory-gib-per-trial",
            resources.memory_gib,
            max(node.memory_gib for node in nodes),
            "GiB",
        ),
    )
    for name, asked, most, unit in asks:
        if asked > most == 0:
            raise UsageError(
                f"{name} {asked:g}: there are no {unit} in the cluster; leave {name} out"
            )
        if asked > most:
            raise UsageError(
                f"{name} {asked:g}: no node has more than {most:g} {unit}; "
                f"give at most {name} {most:g}"
            )
    group = config.workers_per_trial
    if group > 1 and 0 < resources.gpus <= 0.5:
        raise UsageError(
            f"--gpus-per-trial {resources.gpus:g}: two workers of a trial would share a GPU, which "
            f"NCCL refuses; give more than 0.5, or leave --workers-per-trial out"
        )
    workers = sum(resources.slots(node) for node in nodes)
    slots = workers // group
    if not workers:
        raise UsageError(
            "no single node has the CPUs, GPUs and memory asked for per trial: ask for less"
        )
    if not slots:
        raise UsageError(
            f"--workers-per-trial {group}: the cluster has room for {workers}; "
            f"give at most --workers-per-trial {workers}"
        )
    if config.concurrency is not None and config.concurrency > slots:
        raise UsageError(
            f"--concurrency {config.concurrency}: {slots} trials fit at once; "
            f"give at most --concurrency {slots}, or less per trial"
        )
    return slots


def check_groups(workers: int, nodes: Sequence[Node]) -> None:
    """Raise UsageError where Ray could not clear a stopped trial's worker group away.

    Ray asks its dashboard, from the head, which groups are in use. Without it each group that
    is stopped would hold its cores for ever.

    Args:
        workers: Data-parallel workers of a trial.
        nodes: Those that are up, the head among them.
    """
    answers = on_each([node for node in nodes if node.head], _ask_dashboard)
    if any(isinstance(answer, Exception) for answer in answers):
        raise UsageError(
            f"--workers-per-trial {workers}: Ray's dashboard does not answer on the head, and "
            f"without it stopped trials keep their cores; start the head with "
            f"`ray start --head --include-dashboard=true`, and with its own address in no_proxy "
            f"where it has a proxy, or leave --workers-per-trial out"
        )


def _ask_dashboard() -> None:
    from ray.util.state import list_nodes

    list_nodes(limit=1, timeout=DASHBOARD_SEC)
