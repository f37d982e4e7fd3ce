"""A storage in a bucket, on nodes that share nothing else and have keys of their own."""

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
from pyarrow import ArrowException
from pyarrow.fs import FileSelector, FileSystem

from analysis.tables.bucket import local_directory
from analysis.tables.table_sources import is_refusal
from tests.tuner.bucket_service import AWAY, TRIES_WHILE_AWAY, Service, start
from tests.tuner.conftest import OWN
from tests.tuner.gated_network import Gate
from tests.tuner.on_nodes.conftest import Cluster, InProcess, Waiting, meanwhile
from tests.tuner.storage.leases import is_there, owner, take_over
from tests.waiting import until
from trainables.data.cache import CACHE_VARIABLE
from trainables.networks.weights import read_header
from tuner.storage import claim
from tuner.storage.run_storage import RunStorage

EPOCHS = 4
TRIAL = ("--name", "run", "--model", "gated_network:Gated", "--samples", "1", "--finalists", "1")
SEARCH = (*TRIAL, "--max-epochs", str(EPOCHS), "--grace-epochs", str(EPOCHS))
# For one that is ended
LONG = (*TRIAL, "--max-epochs", "999", "--grace-epochs", "999", "--patience", "999", "999")


@dataclass
class Bucket:
    """A storage in a bucket, and the command on a machine with a copy of it."""

    storage: str
    service: Service
    search: InProcess

    def table(self, name: str) -> pd.DataFrame:
        """As the bucket has it."""
        files, root = FileSystem.from_uri(self.storage)
        path = f"{root}/tables/{name}/run=run/{name}.parquet"
        return pq.read_table(path, filesystem=files, partitioning=None).to_pandas()

    def has_epochs(self, count: int) -> bool:
        try:
            return len(self.table("epochs")) >= count
        except (OSError, ArrowException):  # it is not there yet, or is being replaced
            return False

    def objects(self) -> set[str]:
        files, root = FileSystem.from_uri(self.storage)
        found = files.get_file_info(FileSelector(root, recursive=True, allow_not_found=True))
        return {info.path.removeprefix(f"{root}/") for info in found if info.is_file}

    @property
    def run(self) -> RunStorage:
        return RunStorage(self.storage, "run")


@pytest.fixture
def bucket(
    service: Service, search: InProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Bucket]:
    """The driver has a key of its own; the head's is refused, whatever it is used for."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "of-the-driver")
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "here"))
    search.storage = f"s3://searches/{tmp_path.name}?{service.options}"
    service.refused_keys = {"of-the-head"}
    yield Bucket(search.storage, service, search)
    service.refused_keys = set()


def test_a_search_refuses_a_second_waits_for_its_bucket_and_when_killed_goes_on_elsewhere(
    bucket: Bucket,
    cluster: Cluster,
    gate: Gate,
    few_images: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    storage, service = bucket.storage, bucket.service
    gate.hold_after(1)
    monkeypatch.setenv("PYTHONPATH", str(OWN))
    driver = start(storage, tmp_path / "there", "--address", cluster.address, *few_images, *SEARCH)
    try:
        until(lambda: bucket.has_epochs(1) or driver.poll() is not None)
        assert driver.poll() is None, driver.communicate()
        code, output = bucket.search("--resume", "run")
        assert code == 2, output
        told = f"error: the run run is being searched by another process, {driver.pid} on "
        assert told in output

        service.trouble = AWAY
        gate.hold_after(2)
        until(lambda: tries(service) > TRIES_WHILE_AWAY)
        service.trouble = ""
        until(lambda: bucket.has_epochs(2))
    finally:
        driver.kill()
        driver.communicate()

    gate.open()
    code, output = bucket.search("--resume", "run")
    assert code == 0, output
    assert "trial   0  goes on   after epoch 2\n" in output
    trials, epochs = bucket.table("trials"), bucket.table("epochs")
    assert trials.stop_reason.tolist() == ["max_epochs"]
    assert trials.epochs.tolist() == [EPOCHS]
    assert trials.restarts.tolist() == [1]
    assert sorted(epochs.epoch) == list(range(1, EPOCHS + 1))
    runs = bucket.table("runs")
    assert runs.status.tolist() == ["finished"]
    assert runs.node_count.tolist() == [3]
    best = local_directory(storage) / "networks" / "run=run" / "best.safetensors"
    assert read_header(best).facts["run"] == "run"

    # Nodes wrote their checkpoints to the bucket with keys of their own, and nowhere else
    root = f"{bucket.run.experiment.root.partition('/')[0]}/{tmp_path.name}"
    (checkpoint,) = trials.checkpoint
    assert checkpoint.startswith(f"s3://{root}/experiments/run/session-")
    there = bucket.objects()
    assert f"{checkpoint.removeprefix(f's3://{root}/')}/state.pt" in there
    assert not [p for p in there if "/.shared-" in f"/{p}" and not p.startswith("experiments/")]
    assert not list((tmp_path / "here").rglob("state.pt"))
    assert not list((tmp_path / "there").rglob("state.pt"))


def tries(service: Service) -> int:
    """How often a trial was turned away with what it asks before it writes a checkpoint."""
    return sum(path.endswith("/.validate_storage_marker") for path in service.turned_away)


def test_a_bucket_that_refuses_from_some_moment_on_ends_the_search_and_sigterm_frees_the_run(
    bucket: Bucket, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate.crawl()

    def refuse(wait: Waiting) -> None:
        wait(lambda: bucket.has_epochs(1))
        bucket.service.refused_keys = {"of-the-head", "of-the-nodes", "of-the-driver"}

    with meanwhile(refuse):
        code, output = bucket.search(*LONG)
    assert code == 1, output
    assert is_refusal(OSError(output.splitlines()[-1]))
    assert output.endswith(
        f"when that is mended, type python -m tuner.run --resume run --storage '{bucket.storage}'\n"
    )
    assert "Traceback" not in output

    bucket.service.refused_keys = {"of-the-head"}
    # It could not be given back, and this process lives on
    monkeypatch.setattr(claim, "LEASE_SEC", 0.5)

    known = len(bucket.table("epochs"))

    def end(wait: Waiting) -> None:
        wait(lambda: bucket.has_epochs(known + 1))
        os.kill(os.getpid(), signal.SIGTERM)

    with meanwhile(end):
        code, output = bucket.search("--resume", "run")
    assert code == 130, output
    epochs = sorted(bucket.table("epochs").epoch)
    assert epochs == list(range(1, len(epochs) + 1))
    assert not is_there(bucket.run)


def test_a_search_ends_and_sends_nothing_more_when_another_machine_has_taken_its_run(
    bucket: Bucket, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claim, "RENEW_SEC", 0.2)
    gate.crawl()

    def take(wait: Waiting) -> None:
        wait(lambda: bucket.has_epochs(1))
        # Until the search has ended: a renewal that had begun may be written over the first one
        wait(lambda: take_over(bucket.run))

    with meanwhile(take):
        code, output = bucket.search(*LONG)
    assert code == 1, output
    assert output.splitlines()[-1].startswith(
        "error: the run run is searched by process 1 on elsewhere now, which "
    )
    assert f"type python -m tuner.run --resume run --storage '{bucket.storage}'" in output
    assert "Traceback" not in output
    assert bucket.table("runs").status.tolist() == ["running"]
    assert owner(bucket.run)["host"] == "elsewhere"


def test_a_node_whose_keys_the_bucket_refuses_is_named_before_the_first_trial(
    bucket: Bucket,
) -> None:
    bucket.service.refused_keys = {"of-the-head", "of-the-nodes"}
    code, output = bucket.search(*SEARCH)
    assert code == 2, output
    start = f"error: --storage {bucket.storage}: the node "
    assert output.startswith((f"{start}first does not", f"{start}second does not"))
    assert "ACCESS_DENIED" in output
    assert output.endswith(
        "); give a directory that all nodes share, or a bucket that all may write to\n"
    )
    assert output.count("\n") == 1
    assert bucket.objects() == set()


def test_a_bucket_that_is_not_there_is_told_before_anything_starts(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.search.storage = f"s3://no-such-bucket/x?{bucket.service.options}"
    code, output = bucket.search(*SEARCH)
    assert code == 2
    assert output.startswith("error: s3://no-such-bucket/x")
    assert "there is no bucket no-such-bucket: make it first" in output
