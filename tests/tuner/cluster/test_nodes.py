"""What a node has room for."""

import pytest

from tuner.cluster.nodes import Node, WorkerResources


@pytest.mark.parametrize(
    ("resources", "node", "workers"),
    [
        (WorkerResources(1, 0, 0), Node(8, 0, 16), 8),
        (WorkerResources(3, 0, 0), Node(8, 0, 16), 2),
        (WorkerResources(0.1, 0, 0), Node(0.3, 0, 16), 3),
        (WorkerResources(1, 0, 5), Node(8, 0, 16), 3),
        (WorkerResources(1, 0.25, 0), Node(16, 2, 16), 8),
        (WorkerResources(1, 0.25, 0), Node(3, 2, 16), 3),
        (WorkerResources(1, 0.4, 0), Node(16, 1, 16), 2),
        (WorkerResources(1, 0.4, 0), Node(16, 2, 16), 4),
        (WorkerResources(1, 0.1, 0), Node(64, 3, 16), 30),
        (WorkerResources(1, 0.6, 0), Node(16, 4, 16), 4),
        (WorkerResources(1, 1, 0), Node(16, 4, 16), 4),
        (WorkerResources(1, 2, 0), Node(16, 5, 16), 2),
        (WorkerResources(1, 0, 0), Node(16, 5, 16), 16),
        (WorkerResources(1, 0.5, 0), Node(16, 0, 16), 0),
        (WorkerResources(2, 0, 0), Node(1, 0, 16), 0),
    ],
)
def test_as_many_workers_fit_as_ray_would_place(
    resources: WorkerResources, node: Node, workers: int
) -> None:
    assert resources.slots(node) == workers


def test_resources_are_named_as_ray_does_and_nothing_is_asked_for_zero() -> None:
    assert WorkerResources(1.5, 0, 0).named == {"CPU": 1.5}
    assert WorkerResources(1, 0.25, 2).named == {"CPU": 1, "GPU": 0.25, "memory": 2 * 2**30}
