"""Settings, what is loaded for them, and the plans that they give on a node that is made up."""

from pathlib import Path
from typing import Any

from trainables.data.examples import Splits
from trainables.losses.vgg16_weights import Vgg16
from trainables.training.network_facts import NetworkFacts
from trainables.training.try_out import TryOut
from tuner.cluster.nodes import Growth, Node
from tuner.planning.early_checks import check_early
from tuner.planning.plan import Plan, make_plan
from tuner.planning.while_ray_starts import load
from tuner.settings import SearchConfig
from tuner.storage.run_storage import RunStorage

CPU_NODE, GPU_NODE = Node(8, 0, 16), Node(16, 4, 64)


def config(**more: Any) -> SearchConfig:
    return SearchConfig(**{"name": "r", "data": "photos", **more})


def loaded(asked: SearchConfig) -> tuple[Vgg16 | None, Splits, dict[str, NetworkFacts]]:
    """What `make_plan` takes, read and tried out as a search does it."""
    with TryOut(asked.model) as network:
        return load(asked, check_early(asked), None, network, print)


def planned(few: str, storage: Path, **more: Any) -> Plan:
    """The plan of a search of the run `r` on these images and one node without GPUs."""
    asked = config(data=few, storage=str(storage), **more)
    return make_plan(asked, RunStorage(str(storage), "r"), loaded(asked), [CPU_NODE], Growth())


def facts_of(network: Any) -> dict[str, NetworkFacts]:
    """What there is to know of this network, by its name, as if it had been tried out."""
    return {network.__name__.lower(): NetworkFacts.of(network)}
