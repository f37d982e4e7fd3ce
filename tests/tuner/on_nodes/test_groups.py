"""Trials of two workers where no node has room for two, beside those of one worker each."""

import os

import pandas as pd
import psutil
import pytest
import ray

from analysis.console import Console
from tests.tuner.conftest import TINY
from tests.tuner.gated_network import Gate
from tests.tuner.on_nodes.conftest import Cluster, InProcess, Waiting, meanwhile
from trainables.data import loading
from tuner.cluster import connect, local_ray, nodes

EPOCHS = 3
IMAGES = 2500  # so that three times these take another space than these and the test split
SEARCH = (
    *("--model", "gated_network:Gated", "--samples", "3", "--max-epochs", str(EPOCHS)),
    *("--patience", "9", "9", "--finalists", "1", *TINY),
    *("--images", str(IMAGES)),
)


def bytes_received(address: str) -> dict[str, int]:
    """All that was ever put into the object store of each node that trains, by whichever way."""
    from ray._private.internal_api import node_stats

    ray.init(address, log_to_driver=False, logging_level="ERROR")
    try:
        return {
            node["NodeName"]: node_stats(
                node["NodeManagerAddress"], node["NodeManagerPort"], include_memory_info=False
            ).store_stats.cumulative_created_bytes
            for node in ray.nodes()
            if node["Resources"].get("CPU")
        }
    finally:
        ray.shutdown()


def bytes_of_images() -> tuple[int, int]:
    """Of those that every trial reads, and of the test split, which the finalist reads."""
    splits = loading.load("photos", IMAGES)
    train, validation, test = (
        sum(tensor.nbytes for tensor in (part.images, part.targets))
        for part in (splits.train, splits.validation, splits.test)
    )
    return train + validation, test


def group_workers() -> list[psutil.Process]:
    """The processes in which a group trains on one of these nodes."""
    mine = psutil.Process().children(recursive=True)
    return [process for process in mine if "RayTrainWorker" in " ".join(process.cmdline())]


def test_the_images_of_trials_in_several_processes_arrive_once_and_groups_train_as_one_worker_does(
    search: InProcess, cluster: Cluster, gate: Gate
) -> None:
    before = bytes_received(cluster.address)
    gate.hold_after(0)

    def open_when_all_have_begun(wait: Waiting) -> None:
        wait(lambda: len({process for _, _, process in gate.witnesses()}) == 3)
        gate.open()

    alone = ("--grace-epochs", str(EPOCHS), "--cpus-per-trial", "0.5")
    with meanwhile(open_when_all_have_begun):
        code, output = search("--name", "alone", *alone, *SEARCH)
    assert code == 0, output
    assert {worker for _, worker, _ in gate.witnesses()} == {"0of1"}
    once, test = bytes_of_images()
    received = [after - before[node] for node, after in bytes_received(cluster.address).items()]
    # One of them has evaluated the finalist as well
    assert sorted(received) == pytest.approx([once, once + test], rel=0.05)
    gate.forget()

    gate.hold_after(1)
    gate.spoil(1)
    gate.fail(2)

    def lose_a_worker(wait: Waiting) -> None:
        wait(lambda: search.has_epochs("groups", 1))
        wait(lambda: len(group_workers()) == 2)
        group_workers()[1].kill()
        wait(lambda: search.has_epochs("groups", 2))
        gate.open()

    with meanwhile(lose_a_worker):
        code, output = search("--name", "groups", "--workers-per-trial", "2", *SEARCH)
    assert code == 0, output
    trials = search.table("trials", "groups").sort_values("trial")
    assert trials.stop_reason.tolist() == ["max_epochs", "asha", "error"]
    assert trials.restarts.tolist() == [1, 0, 0]
    assert "RuntimeError: this network does not want to be trained" in trials.error[2]
    workers = {(node, worker) for node, worker, _ in gate.witnesses()}
    assert {worker for _, worker in workers} == {"0of2", "1of2"}
    assert len({node for node, _ in workers}) == 2
    one, two = (
        search.table("epochs", run).query("trial == 0").set_index("epoch").sort_index()
        for run in ("alone", "groups")
    )
    assert two.index.tolist() == list(range(1, EPOCHS + 1))
    pd.testing.assert_series_equal(one.validation_loss, two.validation_loss, rtol=1e-3)


def test_a_cluster_of_ones_own_for_groups_is_the_one_whose_state_its_processes_ask(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # takes nothing
    for name in local_ray.NO_PROXY:
        monkeypatch.setenv(name, "")

    def ask() -> tuple[bool, int]:
        from ray.util.state import list_nodes

        gcs = ray.get_runtime_context().gcs_address
        return os.environ["RAY_ADDRESS"] == gcs, len(list_nodes(timeout=60))

    local_ray.prepare_environment(dashboard=True)
    local_ray.start(Console(), dashboard=True, verbose=False)
    try:
        assert nodes.on_each(nodes.nodes(), ask) == [(True, 1)]
    finally:
        connect.stop()
