"""The machines of a cluster: what each offers, and what runs on each."""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

ANSWER_SEC = 60.0  # for a task on every node, the start of its process included
HEAD = "node:__internal_head__"
ACCELERATOR = "accelerator_type:"


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
        gib = round(resources.get("memory", 0.0) / 2**30, 2)
        models = [key.removeprefix(ACCELERATOR) for key in resources if key.startswith(ACCELERATOR)]
        return cls(
            resources.get("CPU", 0.0),
            resources.get("GPU", 0.0),
            gib,
            name,
            id,
            HEAD in resources,
            ", ".join(models),
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


def on_each(nodes: Sequence[Node], function: Callable[..., Any], *arguments: Any) -> list[Any]:
    """Call a function on each of these nodes.

    Returns what it returned there, or the error of a node that does not answer in ANSWER_SEC.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    task = ray.remote(num_cpus=0)(function)
    pins = [NodeAffinitySchedulingStrategy(node.id, soft=False) for node in nodes]
    references = [task.options(scheduling_strategy=pin).remote(*arguments) for pin in pins]
    until = time.monotonic() + ANSWER_SEC
    return [_answer(reference, until) for reference in references]


def _answer(reference: Any, until: float) -> Any:
    import ray

    try:
        return ray.get(reference, timeout=max(0.0, until - time.monotonic()))
    except ray.exceptions.RayError as error:
        return error
