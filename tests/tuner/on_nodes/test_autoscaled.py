"""A cluster that grows: what the command counts, waits for and refuses before a search."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tuner.nodes import free_port, head
from tests.tuner.on_nodes.conftest import Cluster, InProcess

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


@pytest.fixture(scope="module")
def autoscaled(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a head without CPUs and dashboard, whose autoscaler starts up to two workers.

    The other cluster of this machine is there as well, with the same token.
    """
    port = free_port()
    config = tmp_path_factory.mktemp("autoscaled") / "cluster.json"
    provider = AUTOSCALED["provider"] | {"gcs_address": f"127.0.0.1:{port}"}  # type: ignore[operator]
    config.write_text(json.dumps(AUTOSCALED | {"provider": provider}))
    more = {"RAY_FAKE_CLUSTER": "1", "AUTOSCALER_UPDATE_INTERVAL_S": "1"}
    flags = ("--num-cpus=0", f"--autoscaling-config={config}")
    with head(*flags, port=port, more=more) as address:
        yield address


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (
            ("--cpus-per-trial", "3"),
            "--cpus-per-trial 3: no node has more than 2 CPUs; give at most --cpus-per-trial 2",
        ),
        (
            ("--concurrency", "5"),
            "--concurrency 5: 4 trials fit at once; give at most --concurrency 4",
        ),
        (
            ("--wait-for-nodes", "3", "--wait-sec", "0.1", "--cpus-per-trial", "2"),
            "--wait-for-nodes 3: 0 that can train came within 0.1 s; give a longer --wait-sec",
        ),
        (
            ("--workers-per-trial", "2"),
            "--workers-per-trial 2: Ray's dashboard does not answer on the head, and without it "
            "stopped trials keep their cores; start the head with `ray start --head "
            "--include-dashboard=true`, and with its own address in no_proxy where it has a proxy, "
            "or leave --workers-per-trial out\n",
        ),
    ],
)
def test_what_the_cluster_can_not_do_however_it_grows_is_refused_in_a_sentence(
    autoscaled: str, search: InProcess, flags: tuple[str, ...], told: str
) -> None:
    code, output = search("--address", autoscaled, *flags)
    assert code == 2, output
    assert output.startswith(f"error: {told}")
    assert output.count("\n") == 1


def test_a_search_waits_for_nodes_that_the_autoscaler_starts_for_it(
    autoscaled: str, search: InProcess
) -> None:
    waiting = ("--wait-for-nodes", "2", "--wait-sec", "500", "--cpus-per-trial", "2")
    trial = ("--model", "separable", "--samples", "1", "--max-epochs", "1", "--finalists", "1")
    code, output = search("--address", autoscaled, "--name", "run", *waiting, *trial)
    assert code == 0, output
    assert "2 at a time with 2 CPU each" in output
    assert search.table("runs", "run").node_count.tolist() == [3]
    assert not list(Path(search.storage).glob(".shared-*"))
