"""The machines of a cluster: what each offers, what runs on each, and how many may still join."""

import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import yaml

from analysis.console import Console
from analysis.wording import duration
from trainables.errors import UsageError, last_line

ANSWER_SEC = 60.0  # for a task on every node, the start of its process included
HEAD = "node:__internal_head__"
ACCELERATOR = "accelerator_type:"
POLL_SEC = 0.5


@dataclass(frozen=True)
class Node:
    """What one machine of the cluster offers, or will when it is started.

    Attributes:
        name: What it was started as, else its address.
        id: Ray's own, in hex.
        head: Whether it is the head of the cluster.
        gpu_model: The kind of its GPUs as Ray names it, such as H200; empty where Ray knows none.
    """

    cpus: float
    gpus: float
    memory_gib: float
    name: str = ""
    id: str = ""
    head: bool = False
    gpu_model: str = ""

    @classmethod
    def of(cls, resources: dict[str, float], name: str = "", id: str = "") -> "Node":
        """Return the node with these resources, as Ray names them."""
        models = [key.removeprefix(ACCELERATOR) for key in resources if key.startswith(ACCELERATOR)]
        return cls(
            cpus=resources.get("CPU", 0.0),
            gpus=resources.get("GPU", 0.0),
            memory_gib=round(resources.get("memory", 0.0) / 2**30, 2),
            name=name,
            id=id,
            head=HEAD in resources,
            gpu_model=", ".join(models),
        )


@dataclass(frozen=True)
class WorkerResources:
    """What each worker of a trial gets."""

    cpus: float
    gpus: float
    memory_gib: float

    @property
    def named(self) -> dict[str, float]:
        """The resources as Ray names them; memory in bytes."""
        named = {"CPU": self.cpus, "GPU": self.gpus, "memory": self.memory_gib * 2**30}
        return {name: amount for name, amount in named.items() if amount}

    @property
    def threads(self) -> int:
        """Threads of one worker on a CPU."""
        return max(1, int(self.cpus))

    def slots(self, node: Node) -> int:
        """Return how many such workers run on a node at once."""
        pairs = ((node.cpus, self.cpus), (node.gpus, self.gpus), (node.memory_gib, self.memory_gib))
        limits = [int(has / asks + 1e-9) for has, asks in pairs if asks]
        if 0 < self.gpus < 1:
            # Whole workers share a GPU: with 0.4 of one, two run on each card
            limits.append(int(node.gpus) * int(1 / self.gpus + 1e-9))
        return min(limits)

    def able(self, nodes: Sequence[Node]) -> list[Node]:
        """Return the nodes that can train: a head may have nothing for trials."""
        return [node for node in nodes if self.slots(node)]


def nodes() -> list[Node]:
    """Return the machines that are up."""
    import ray

    return [Node.of(n["Resources"], n["NodeName"], n["NodeID"]) for n in ray.nodes() if n["Alive"]]


def this_node() -> str:
    """Return the id of the node that this process runs on."""
    import ray

    return str(ray.get_runtime_context().get_node_id())


def this_node_name() -> str:
    """Return the name of the node that this process runs on, as `nodes` has it."""
    return next((node.name for node in nodes() if node.id == this_node()), os.uname().nodename)


def submit(node: Node, function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """Have a node call a function; return the reference of what it returns.

    Args:
        node: Where.
        function: What to call there.
        arguments: What to call it with.
        options: What Ray takes for a task, such as its resources.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    pin = NodeAffinitySchedulingStrategy(node.id, soft=False)
    task: Any = ray.remote(function)
    return task.options(scheduling_strategy=pin, **options).remote(*arguments)


def on_each(nodes: Sequence[Node], function: Callable[..., Any], *arguments: Any) -> list[Any]:
    """Call a function on each of these nodes.

    Returns what it returned there, or the error of a node that does not answer in ANSWER_SEC.
    """
    import ray

    references = [submit(node, function, *arguments, num_cpus=0) for node in nodes]
    until = time.monotonic() + ANSWER_SEC
    answers: list[Any] = []
    for reference in references:
        try:
            answers.append(ray.get(reference, timeout=max(0.0, until - time.monotonic())))
        except ray.exceptions.RayError as error:
            answers.append(error)
    return answers


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
    possible: list[Node] = []
    for name, kind in config.get("available_node_types", {}).items():
        if name != config["head_node_type"]:
            possible += [Node.of(kind["resources"])] * kind["max_workers"]
    return Growth(tuple(possible), config.get("max_workers", 0))


def _autoscaling_config() -> dict[str, Any]:
    """On the head: what this cluster's autoscaler reads; empty when there is no file."""
    import ray

    gcs = ray.get_runtime_context().gcs_address
    for process in psutil.process_iter(["cmdline"]):
        flags = dict(part.partition("=")[::2] for part in process.info["cmdline"] or ())
        if flags.get("--gcs-address") == gcs and "--autoscaling-config" in flags:
            path = Path(flags["--autoscaling-config"]).expanduser()
            return dict(yaml.safe_load(path.read_text()))
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
