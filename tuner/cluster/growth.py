"""How far a cluster may grow, and waiting for nodes that are asked for."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import yaml

from analysis.console import Console, duration
from trainables.errors import UsageError, last_line
from tuner.cluster.nodes import Node, WorkerResources, nodes, on_each

POLL_SEC = 0.5


@dataclass(frozen=True)
class Growth:
    """How far an autoscaler may let the cluster grow; not at all without one.

    Attributes:
        nodes: As many of each node type as there may be, whether they are up or not.
        limit: How many of them may be up at once.
    """

    nodes: tuple[Node, ...] = ()
    limit: int = 0

    def beside(self, up: Sequence[Node], worker: WorkerResources) -> list[Node]:
        """Return the nodes that may still join those that are up, best for such workers first."""
        workers = [node for node in up if not node.head]
        # A node does not say of which type it is
        started = Counter((node.cpus, node.gpus) for node in workers)
        more = []
        for node in self.nodes:
            kind = (node.cpus, node.gpus)
            started[kind] -= 1
            if started[kind] < 0:
                more.append(node)
        more.sort(
            key=lambda node: (worker.slots(node), node.gpus, node.cpus, node.memory_gib),
            reverse=True,
        )
        return more[: max(0, self.limit - len(workers))]


def growth() -> Growth:
    """Return how far the cluster may grow, from the file that `ray up` gave its autoscaler, if any.

    Ray itself does not report node types: its cluster configuration stays empty. Raises UsageError
    when the head does not answer.
    """
    config = on_each([node for node in nodes() if node.head], _autoscaling_config)[0]
    if isinstance(config, Exception):
        raise UsageError(
            f"the head of the cluster does not answer ({last_line(config)}): "
            f"type `ray status` there"
        )
    kinds = [
        kind
        for name, kind in config.get("available_node_types", {}).items()
        if name != config["head_node_type"]
    ]
    possible = [Node.of(kind["resources"]) for kind in kinds for _ in range(kind["max_workers"])]
    return Growth(tuple(possible), config.get("max_workers", 0))


def _autoscaling_config() -> dict[str, Any]:
    """On the head: what this cluster's autoscaler reads; empty when there is no file."""
    import ray

    gcs = ray.get_runtime_context().gcs_address
    for process in psutil.process_iter(["cmdline"]):
        flags = dict(part.partition("=")[::2] for part in process.info["cmdline"] or ())
        if flags.get("--gcs-address") == gcs and "--autoscaling-config" in flags:
            path = Path(flags["--autoscaling-config"]).expanduser()
            config: dict[str, Any] = yaml.safe_load(path.read_text())
            return config
    return {}


def wait_for_nodes(
    wanted: int,
    wait_sec: float,
    worker_on: Callable[[Sequence[Node]], WorkerResources],
    growth: Growth,
    console: Console,
) -> None:
    """Wait until `wanted` nodes that can train are up, and have the autoscaler start them.

    Raises UsageError when they have not come within `wait_sec`.

    Args:
        wanted: What --wait-for-nodes asks for.
        wait_sec: What --wait-sec says.
        worker_on: What a worker gets in a cluster of these nodes: the first GPU changes it.
        growth: What may still join.
        console: For a progress line.
    """
    up = nodes()
    worker = worker_on([*up, *growth.nodes])
    roomiest = sorted((worker.slots(n) for n in [*up, *growth.beside(up, worker)]), reverse=True)
    # An autoscaler starts nodes only for what waits for them
    _request(worker, sum(roomiest[:wanted]))
    until = time.monotonic() + wait_sec
    try:
        with console:
            while (able := _able_now(worker_on, growth)) < wanted:
                left = until - time.monotonic()
                if left <= 0:
                    raise UsageError(
                        f"--wait-for-nodes {wanted}: {able} that can train came within "
                        f"{wait_sec:g} s; give a longer --wait-sec or another --wait-for-nodes, "
                        f"or leave it out"
                    )
                console.progress(
                    f"{able} of {wanted} nodes that can train are up; waits {duration(left)} more"
                )
                time.sleep(POLL_SEC)
    finally:
        _request(worker, 0)


def _able_now(worker_on: Callable[[Sequence[Node]], WorkerResources], growth: Growth) -> int:
    up = nodes()
    return len(worker_on([*up, *growth.nodes]).able(up))


def _request(worker: WorkerResources, count: int) -> None:
    """Have the autoscaler keep nodes for so many workers at once, until it is asked for others."""
    from ray.autoscaler.sdk import request_resources

    request_resources(bundles=[worker.named] * count)
