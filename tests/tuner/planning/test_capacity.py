"""Each worker gets its part of the cluster, and what has no room there is refused."""

import re
from typing import Any

import pytest

from tests.tuner.planning.plans import CPU_NODE, GPU_NODE, config
from trainables.errors import UsageError
from tuner.cluster.nodes import Node, WorkerResources
from tuner.planning.capacity import slots_for, worker_resources


@pytest.mark.parametrize(
    ("asked", "nodes", "gpus"),
    [
        (None, [CPU_NODE], 0),
        (None, [CPU_NODE, GPU_NODE], 0.25),
        (0.0, [GPU_NODE], 0),
        (2.0, [GPU_NODE], 2),
    ],
)
def test_a_worker_gets_the_gpu_share_that_is_asked_or_a_quarter_where_there_are_any(
    asked: float | None, nodes: list[Node], gpus: float
) -> None:
    settings = config(gpus_per_trial=asked, cpus_per_trial=2, memory_gib_per_trial=1.5)
    assert worker_resources(settings, nodes) == WorkerResources(2, gpus, 1.5)


def test_each_worker_of_a_group_gets_a_gpu_of_its_own_where_there_are_any() -> None:
    settings = config(workers_per_trial=2)
    assert worker_resources(settings, [CPU_NODE]).gpus == 0
    assert worker_resources(settings, [GPU_NODE]).gpus == 1


@pytest.mark.parametrize(
    ("asked", "nodes", "fits"),
    [
        ({}, [CPU_NODE], 8),
        ({}, [CPU_NODE, CPU_NODE, Node(0, 0, 16)], 16),
        ({"cpus_per_trial": 5}, [CPU_NODE, CPU_NODE], 2),
        ({"gpus_per_trial": 0.4}, [GPU_NODE], 8),
        ({"gpus_per_trial": 0.4}, [GPU_NODE, CPU_NODE], 8),
        ({"gpus_per_trial": 0.25, "cpus_per_trial": 2}, [GPU_NODE], 8),
        ({"workers_per_trial": 3}, [CPU_NODE, CPU_NODE], 5),
        ({"memory_gib_per_trial": 6}, [CPU_NODE, CPU_NODE], 4),
        ({"concurrency": 8}, [CPU_NODE], 8),
    ],
)
def test_trials_at_once_are_counted_node_by_node(
    asked: dict[str, Any], nodes: list[Node], fits: int
) -> None:
    settings = config(**asked)
    assert slots_for(settings, worker_resources(settings, nodes), nodes) == fits


@pytest.mark.parametrize(
    ("asked", "nodes", "told"),
    [
        (
            {"gpus_per_trial": 0.5},
            [CPU_NODE],
            "--gpus-per-trial 0.5: there are no GPUs in the cluster; leave",
        ),
        (
            {"gpus_per_trial": 8},
            [GPU_NODE] * 2,
            "no node has more than 4 GPUs; give at most --gpus-per-trial 4",
        ),
        ({"cpus_per_trial": 9}, [CPU_NODE] * 2, "--cpus-per-trial 9: no node has more than 8 CPUs"),
        (
            {"memory_gib_per_trial": 99},
            [CPU_NODE],
            "--memory-gib-per-trial 99: no node has more than 16 GiB",
        ),
        (
            {"cpus_per_trial": 8, "gpus_per_trial": 1},
            [CPU_NODE, Node(4, 1, 16)],
            "no single node has the CPUs, GPUs",
        ),
        (
            {"workers_per_trial": 2, "gpus_per_trial": 0.5},
            [GPU_NODE],
            "0.5: two workers of a trial would share a GPU",
        ),
        (
            {"workers_per_trial": 9},
            [CPU_NODE],
            "has room for 8; give at most --workers-per-trial 8",
        ),
        (
            {"concurrency": 9},
            [CPU_NODE],
            "--concurrency 9: 8 trials fit at once; give at most --concurrency 8",
        ),
        (
            {"concurrency": 5, "workers_per_trial": 2},
            [CPU_NODE],
            "--concurrency 5: 4 trials fit at once",
        ),
    ],
)
def test_what_ray_would_wait_for_for_ever_is_told(
    asked: dict[str, Any], nodes: list[Node], told: str
) -> None:
    settings = config(**asked)
    with pytest.raises(UsageError, match=re.escape(told)):
        slots_for(settings, worker_resources(settings, nodes), nodes)
