"""Ray: started or joined without its chatter, and what the cluster offers."""

import logging
import os
import time
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import yaml

from tuner.cluster.joining import join

QUIET = {
    "RAY_AIR_NEW_OUTPUT": "0",  # Tune's older output is silent at verbose=0; the newer one is not
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DEDUP_LOGS": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # our tables hold what its CSV and JSON files would
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",  # the recorder tells of each in a line
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    "TUNE_WARN_THRESHOLD_S": "60",
}
SETTINGS = {
    "RAY_AUTH_MODE": "token",  # Ray listens on every interface
    "RAY_gcs_rpc_server_reconnect_timeout_s": "20",  # a driver whose head is gone ends after that; 60 s by default
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",  # a worker group's reports wait for it; 2 s by default
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",  # one process less per worker group
    "RAY_USAGE_STATS_ENABLED": "0",
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",  # a resumed search is rebuilt from the tables, not from Ray's snapshots
}
LOGGERS = ("ray", "ray.tune", "ray.train", "ray.air", "ray.data")
# With a traceback, that a storage can't be written
TOLD_ANYWAY = ("ray.tune.execution.experiment_state", "ray.train._internal.storage")
TOLD_IN_PART = "ray.tune.execution.tune_controller"  # tells of other faults too
ANSWER_SEC = 60.0  # for a task on every node, the start of its process included
HEAD = "node:__internal_head__"


@dataclass(frozen=True)
class Node:
    """What one machine of the cluster offers, or will when it is started."""

    cpus: float
    gpus: float
    memory_gib: float
    name: str = ""
    """The name that it was started with, else its address."""
    id: str = ""
    """Ray's own, in hex."""
    head: bool = False

    @classmethod
    def of(cls, resources: dict[str, float], name: str = "", id: str = "") -> "Node":
        """The node with these resources, as Ray names them."""
        gib = round(resources.get("memory", 0.0) / 2**30, 2)
        return cls(
            resources.get("CPU", 0.0), resources.get("GPU", 0.0), gib, name, id, HEAD in resources
        )


@dataclass(frozen=True)
class Share:
    """What one worker of a trial asks for."""

    cpus: float
    gpus: float
    memory_gib: float

    @property
    def resources(self) -> dict[str, float]:
        """As Ray names them; memory in bytes."""
        named = {"CPU": self.cpus, "GPU": self.gpus, "memory": self.memory_gib * 2**30}
        return {name: amount for name, amount in named.items() if amount}

    @property
    def threads(self) -> int:
        """Of one worker on a CPU."""
        return max(1, int(self.cpus))

    def fits(self, node: Node) -> int:
        """How many such workers run on a node at once."""
        pairs = ((node.cpus, self.cpus), (node.gpus, self.gpus), (node.memory_gib, self.memory_gib))
        # A GPU is shared by whole workers: at a share of 0.4, two run on each card
        per_gpu = int(1 / self.gpus + 1e-9) if 0 < self.gpus < 1 else 0
        by_gpu = int(node.gpus) * per_gpu if per_gpu else None
        limits = [int(has / asks + 1e-9) for has, asks in pairs if asks]
        return min([*limits, by_gpu] if by_gpu is not None else limits)


@dataclass(frozen=True)
class Growth:
    """How far an autoscaler may let the cluster grow; not at all without one."""

    nodes: tuple[Node, ...] = ()
    """As many of each node type as there may be, whether they are up or not."""
    limit: int = 0
    """How many of them may be up at once."""

    def beside(self, up: list[Node], share: Share) -> list[Node]:
        """The nodes that may still join those that are up, as suits workers of that share best."""
        workers = [node for node in up if not node.head]
        started = Counter(
            (node.cpus, node.gpus) for node in workers
        )  # a node does not say of which type it is
        more = []
        for node in self.nodes:
            kind = (node.cpus, node.gpus)
            started[kind] -= 1
            if started[kind] < 0:
                more.append(node)
        more.sort(
            key=lambda node: (share.fits(node), node.gpus, node.cpus, node.memory_gib), reverse=True
        )
        return more[: max(0, self.limit - len(workers))]


def prepare_environment(verbose: bool) -> None:
    """Set what Ray reads on import; call it before anything imports ray. The person's own values stay."""
    for name, value in {**SETTINGS, **({} if verbose else QUIET)}.items():
        os.environ.setdefault(name, value)


def start(address: str | None, *, model: str, dashboard: bool, verbose: bool) -> None:
    """Join the cluster at `address` with what trials of `model` need, or start one on this machine.

    Raises ValueError when the one at that address can't be joined.
    """
    import ray

    if not verbose:
        warnings.filterwarnings("ignore", module=r"ray\b")
        for name in LOGGERS:
            logging.getLogger(name).setLevel(logging.ERROR)
        for name in TOLD_ANYWAY:
            logging.getLogger(name).setLevel(logging.CRITICAL)
        logging.getLogger(TOLD_IN_PART).addFilter(tells_of_no_storage)
    quiet: dict[str, Any] = {
        "log_to_driver": verbose,
        "logging_level": "INFO" if verbose else "ERROR",
    }
    if address is None:
        # With the dashboard, since only worker groups need both
        named = (
            {"worker_process_setup_hook": f"{__name__}.{name_this_cluster.__name__}"}
            if dashboard
            else {}
        )
        ray.init(address="local", include_dashboard=dashboard, runtime_env=named, **quiet)
    else:
        join(address, model, **quiet)


def tells_of_no_storage(record: logging.LogRecord) -> bool:
    """Whether a record is about something else than a storage, of which our own sentence tells."""
    return not (record.exc_info and isinstance(record.exc_info[1], OSError))


def name_this_cluster() -> None:
    """In a process of it: ask no other cluster of this machine for the state of a trial, where there are several."""
    import ray

    os.environ["RAY_ADDRESS"] = ray.get_runtime_context().gcs_address


def stop() -> None:
    """Leave the cluster, or end the one that `start` made. A second Ctrl-C does not break it off."""
    import ray

    with suppress(KeyboardInterrupt):
        ray.shutdown()


def nodes() -> list[Node]:
    """The machines that are up."""
    import ray

    return [Node.of(n["Resources"], n["NodeName"], n["NodeID"]) for n in ray.nodes() if n["Alive"]]


def growth() -> Growth:
    """How far the cluster may grow: what its autoscaler reads, where `ray up` gave it a file.

    Ray itself does not tell node types: its cluster configuration stays empty. Raises ValueError when the head
    does not answer.
    """
    config = on_each([node for node in nodes() if node.head], _autoscaling_config)[0]
    if isinstance(config, Exception):
        raise ValueError(
            f"the head of the cluster does not answer ({cause(config)}): type `ray status` there"
        )
    kinds = [
        kind
        for name, kind in config.get("available_node_types", {}).items()
        if name != config["head_node_type"]
    ]
    possible = [Node.of(kind["resources"]) for kind in kinds for _ in range(kind["max_workers"])]
    return Growth(tuple(possible), config.get("max_workers", 0))


def this_node() -> str:
    """The id of the node that this process runs on."""
    import ray

    return str(ray.get_runtime_context().get_node_id())


def this_nodes_name() -> str:
    """As `nodes` gives it."""
    return next((node.name for node in nodes() if node.id == this_node()), os.uname().nodename)


def ask_for(share: Share, workers: int) -> None:
    """Have the autoscaler start nodes for so many workers at once, until it is asked for another number."""
    from ray.autoscaler.sdk import request_resources

    request_resources(bundles=[share.resources] * workers)


def on_each(nodes: Sequence[Node], function: Callable[..., Any], *arguments: Any) -> list[Any]:
    """What a function returns on each of these nodes, or the error of one that does not answer."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    task = ray.remote(num_cpus=0)(function)
    pins = [NodeAffinitySchedulingStrategy(node.id, soft=False) for node in nodes]
    references = [task.options(scheduling_strategy=pin).remote(*arguments) for pin in pins]
    until = time.monotonic() + ANSWER_SEC
    return [_answer(reference, until) for reference in references]


def cause(error: Exception) -> str:
    """What went wrong on a node, without the way there."""
    return (str(error).strip() or type(error).__name__).splitlines()[-1]


def _answer(reference: Any, until: float) -> Any:
    import ray

    try:
        return ray.get(reference, timeout=max(0.0, until - time.monotonic()))
    except ray.exceptions.RayError as error:
        return error


def _autoscaling_config() -> dict[str, Any]:
    """On the head: what this cluster's autoscaler reads; empty when there is no file."""
    import ray

    gcs = ray.get_runtime_context().gcs_address
    for process in psutil.process_iter(["cmdline"]):
        flags = dict(part.partition("=")[::2] for part in process.info["cmdline"] or ())
        if flags.get("--gcs-address") == gcs and "--autoscaling-config" in flags:
            config: dict[str, Any] = yaml.safe_load(
                Path(flags["--autoscaling-config"]).expanduser().read_text()
            )
            return config
    return {}


def gpu_model() -> str | None:
    """The kind of GPU in the cluster as Ray names it, such as H200; None without one."""
    import ray

    prefix = "accelerator_type:"
    kinds = [
        name.removeprefix(prefix) for name in ray.cluster_resources() if name.startswith(prefix)
    ]
    return ", ".join(sorted(kinds)) or None
