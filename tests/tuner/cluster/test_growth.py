"""How far a cluster may grow; that it does, for a search that waits, is tested on nodes."""

import pytest

from tuner.cluster.nodes import Growth, Node, WorkerResources

BIG, SMALL = Node(4, 1, 16), Node(2, 0, 8)


@pytest.mark.parametrize(
    ("up", "limit", "resources", "more"),
    [
        ([], 4, WorkerResources(1, 0, 0), [BIG, BIG, SMALL, SMALL]),
        ([], 3, WorkerResources(1, 0, 0), [BIG, BIG, SMALL]),
        ([], 1, WorkerResources(1, 1, 0), [BIG]),
        ([Node(4, 1, 15, "10.0.0.2")], 4, WorkerResources(1, 0, 0), [BIG, SMALL, SMALL]),
        ([Node(4, 1, 16, head=True)], 2, WorkerResources(1, 0, 0), [BIG, BIG]),
        ([BIG, SMALL], 2, WorkerResources(1, 0, 0), []),
        ([Node(9, 9, 9)] * 5, 4, WorkerResources(1, 0, 0), []),
    ],
)
def test_what_may_still_come_is_what_is_not_up_yet_within_the_limit(
    up: list[Node], limit: int, resources: WorkerResources, more: list[Node]
) -> None:
    assert Growth((SMALL, BIG, SMALL, BIG), limit).beside(up, resources) == more
