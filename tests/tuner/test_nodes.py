"""Several nodes on one machine, made by `ray start`: what the command waits for, counts and proves before a search."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.tuner.conftest import TINY, Command
from tests.tuner.nodes import free_port, head, own_token, ray_start
from tuner.cluster.growth import Growth
from tuner.cluster.nodes import Node, WorkerResources

# What `ray up` writes for a head without CPUs and two kinds of workers; these start on this machine
AUTOSCALED = {
    "cluster_name": "fake",
    "max_workers": 2,
    "provider": {"type": "fake_multinode", "launch_multiple": True},
    "head_node_type": "ray.head.default",
    "available_node_types": {
        "ray.head.default": {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
        "small": {"resources": {"CPU": 1}, "node_config": {}, "min_workers": 0, "max_workers": 2},
        "big": {"resources": {"CPU": 2}, "node_config": {}, "min_workers": 0, "max_workers": 2},
    },
    "upscaling_speed": 20,
    "idle_timeout_minutes": 5,
    "auth": {},
    "file_mounts": {},
    "cluster_synced_files": [],
    "file_mounts_sync_continuously": False,
    **{
        f"{name}_commands": [] for name in ("initialization", "setup", "head_setup", "worker_setup")
    },
    **{f"{name}_start_ray_commands": [] for name in ("head", "worker")},
}


@pytest.fixture(scope="module", autouse=True)
def token() -> Iterator[None]:
    with own_token(RAY_FAKE_CLUSTER="1", AUTOSCALER_UPDATE_INTERVAL_S="1"):
        yield


@pytest.fixture(scope="module")
def autoscaled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a head without CPUs whose autoscaler starts up to two workers."""
    port = free_port()
    config = tmp_path_factory.mktemp("autoscaled") / "cluster.json"
    provider = AUTOSCALED["provider"] | {"gcs_address": f"127.0.0.1:{port}"}  # type: ignore[operator]
    config.write_text(json.dumps(AUTOSCALED | {"provider": provider}))
    with head("--num-cpus=0", f"--autoscaling-config={config}", port=port) as address:
        yield address


def test_what_no_node_type_has_is_refused_at_once(autoscaled: str, command: Command) -> None:
    code, output = command.run("--address", autoscaled, "--cpus-per-trial", "3", *TINY, timeout=150)
    assert code == 2
    assert (
        output
        == "error: --cpus-per-trial 3: no node has more than 2 CPUs; give at most --cpus-per-trial 2\n"
    )


def test_trials_at_once_count_what_the_cluster_may_grow_to(
    autoscaled: str, command: Command
) -> None:
    code, output = command.run("--address", autoscaled, "--concurrency", "5", *TINY, timeout=150)
    assert code == 2
    assert "--concurrency 5: 4 trials fit at once; give at most --concurrency 4" in output


def test_nodes_that_do_not_come_in_time_are_told(autoscaled: str, command: Command) -> None:
    waiting = ("--wait-for-nodes", "3", "--wait-sec", "0.1", "--cpus-per-trial", "2")
    code, output = command.run("--address", autoscaled, *waiting, *TINY, timeout=150)
    assert code == 2
    assert output.startswith(
        "error: --wait-for-nodes 3: 0 that can train came within 0.1 s; give a longer --wait-sec"
    )
    assert output.count("\n") == 1


def test_a_search_waits_for_nodes_that_the_autoscaler_starts_for_it(
    autoscaled: str, command: Command
) -> None:
    waiting = ("--wait-for-nodes", "2", "--wait-sec", "120", "--cpus-per-trial", "2")
    search = (
        "--model",
        "separable",
        "--samples",
        "2",
        "--max-epochs",
        "1",
        "--finalists",
        "1",
        *TINY,
    )
    code, output = command.run("--name", "run", "--address", autoscaled, *waiting, *search)
    assert code == 0, output
    assert "2 at a time with 2 CPU each" in output
    assert command.table("runs", "run").node_count.tolist() == [3]
    assert not list(command.storage.glob(".shared-*"))


def test_a_node_that_does_not_share_the_storage_is_named_and_nothing_is_left_behind(
    tmp_path: Path,
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    command = Command(
        Path("/proc/self/cwd/results")
    )  # a path that means another directory on each node
    port = free_port()
    with ExitStack() as stack:
        address = stack.enter_context(head("--num-cpus=1", port=port, cwd=here))
        stack.enter_context(
            ray_start(f"--address={address}", "--node-name=elsewhere", "--num-cpus=1", cwd=there)
        )
        stack.callback(lambda: [process.kill() for process in command.started])
        process = command.start("--address", address, "--wait-for-nodes", "2", *TINY, cwd=here)
        output, _ = process.communicate(timeout=120)
    assert process.returncode == 2
    assert output.startswith(
        "error: --storage /proc/self/cwd/results: the node elsewhere does not share it ([Errno 2] "
    )
    assert output.endswith(
        "; give a directory that all nodes share, or a bucket that all may write to\n"
    )
    assert not [*here.rglob(".shared-*"), *there.rglob(".shared-*")]


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
