"""Ray: started or joined without its chatter, and what the cluster offers."""

import logging
import os
import warnings
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

QUIET = {
    "RAY_AIR_NEW_OUTPUT": "0",  # Tune's older output is silent at verbose=0; the newer one is not
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DEDUP_LOGS": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # our tables hold what its CSV and JSON files would
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    "TUNE_WARN_THRESHOLD_S": "60",
}
SETTINGS = {
    "RAY_AUTH_MODE": "token",  # Ray listens on every interface
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",  # a worker group's reports wait for it; 2 s by default
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",  # one process less per worker group
    "RAY_USAGE_STATS_ENABLED": "0",
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",  # a resumed search is rebuilt from the tables, not from Ray's snapshots
}
LOGGERS = ("ray", "ray.tune", "ray.train", "ray.air", "ray.data")
JOIN_SEC = 20


@dataclass(frozen=True)
class Node:
    """What one machine of the cluster offers."""

    cpus: float
    gpus: float
    memory_gib: float


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

    def fits(self, node: Node) -> int:
        """How many such workers run on a node at once."""
        pairs = ((node.cpus, self.cpus), (node.gpus, self.gpus), (node.memory_gib, self.memory_gib))
        # A GPU is shared by whole workers: at a share of 0.4, two run on each card
        per_gpu = int(1 / self.gpus + 1e-9) if 0 < self.gpus < 1 else 0
        by_gpu = int(node.gpus) * per_gpu if per_gpu else None
        limits = [int(has / asks + 1e-9) for has, asks in pairs if asks]
        return min([*limits, by_gpu] if by_gpu is not None else limits)


def prepare_environment(verbose: bool) -> None:
    """Set what Ray reads on import; call it before anything imports ray. The person's own values stay."""
    for name, value in {**SETTINGS, **({} if verbose else QUIET)}.items():
        os.environ.setdefault(name, value)


def start(address: str | None, *, dashboard: bool, verbose: bool) -> None:
    """Join the cluster at `address`, or start one on this machine.

    Raises ValueError when there is no cluster at that address.
    """
    import ray

    if not verbose:
        warnings.filterwarnings("ignore", module=r"ray\b")
        for name in LOGGERS:
            logging.getLogger(name).setLevel(logging.ERROR)
    quiet: dict[str, Any] = {"log_to_driver": verbose, "logging_level": "INFO" if verbose else "ERROR"}
    if address is None:
        ray.init(address="local", include_dashboard=dashboard, **quiet)
        return
    try:
        ray.init(address=address, **quiet)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise ValueError(
            f"--address {address}: no Ray cluster answers there with this token "
            f"({_first_line(error)}); leave --address out to start one on this machine"
        ) from error


def stop() -> None:
    """Leave the cluster, or end the one that `start` made. A second Ctrl-C does not break it off."""
    import ray

    with suppress(KeyboardInterrupt):
        ray.shutdown()


def nodes() -> list[Node]:
    """The machines that are up."""
    import ray

    resources = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return [Node(r.get("CPU", 0.0), r.get("GPU", 0.0), round(r.get("memory", 0.0) / 2**30, 2)) for r in resources]


def gpu_model() -> str | None:
    """The kind of GPU in the cluster as Ray names it, such as H200; None without one."""
    import ray

    prefix = "accelerator_type:"
    kinds = [name.removeprefix(prefix) for name in ray.cluster_resources() if name.startswith(prefix)]
    return ", ".join(sorted(kinds)) or None


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
