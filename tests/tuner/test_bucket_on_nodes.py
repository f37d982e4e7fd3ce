"""A search on several nodes whose storage is a bucket: each node has keys of its own, and no directory is shared."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pyarrow.fs import FileSelector, FileSystem

from analysis.tables.bucket import local_directory
from analysis.tables.files import read
from tests.tuner.bucket_service import Service, start
from tests.tuner.conftest import TINY
from tests.tuner.nodes import free_port, head, own_token, ray_start
from trainables.data.cache_dir import CACHE_VARIABLE

SEARCH = (
    "--model",
    "separable",
    "--samples",
    "2",
    "--max-epochs",
    "2",
    "--grace-epochs",
    "2",
    "--finalists",
    "1",
    *TINY,
)


@contextmanager
def two_nodes(service: Service, key: str, cache: Path) -> Iterator[str]:
    """The address of a head that trains nothing and may not use the bucket, beside a node with that key."""
    service.refused_keys |= {"of-the-head", "stranger"}
    try:
        with (
            own_token(AWS_ACCESS_KEY_ID="of-the-head"),
            head("--num-cpus=0", port=free_port()) as address,
        ):
            own = {"AWS_ACCESS_KEY_ID": key, CACHE_VARIABLE: str(cache)}
            with ray_start(
                f"--address={address}", "--num-cpus=1", "--node-name=training", more=own
            ):
                yield address
    finally:
        service.refused_keys.clear()


def search(storage: str, address: str, cache: Path) -> tuple[int, str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "driver")
        driver = start(storage, cache, "--name", "run", "--address", address, *SEARCH)
    try:
        output, _ = driver.communicate(timeout=120)
    finally:
        driver.kill()
    return driver.returncode, output


def objects(storage: str) -> set[str]:
    files, root = FileSystem.from_uri(storage)
    found = files.get_file_info(FileSelector(root, recursive=True, allow_not_found=True))
    return {info.path.removeprefix(f"{root}/") for info in found if info.is_file}


def test_trials_on_a_node_that_shares_nothing_else_write_their_checkpoints_to_the_bucket(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = f"s3://searches/nodes?{service.options}"
    with two_nodes(service, "node", tmp_path / "there") as address:
        code, output = search(storage, address, tmp_path / "here")
    assert code == 0, output
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "anywhere"))
    tables = local_directory(storage) / "tables"
    assert read(tables, "runs").status.tolist() == ["finished"]
    assert read(tables, "runs").node_count.tolist() == [2]
    trials = read(tables, "trials")
    assert trials.epochs.tolist() == [2, 2]
    in_bucket = {
        f"{path.removeprefix('s3://searches/nodes/')}/state.pt" for path in trials.checkpoint
    }
    assert len(in_bucket) == 2
    there = objects(storage)
    assert in_bucket <= there
    assert not [
        path for path in there if "/.shared-" in f"/{path}" and not path.startswith("experiments/")
    ]
    assert not list((tmp_path / "here").rglob("state.pt"))


def test_a_node_whose_keys_the_bucket_refuses_is_named_before_the_first_trial(
    service: Service, tmp_path: Path
) -> None:
    storage = f"s3://searches/stranger?{service.options}"
    with two_nodes(service, "stranger", tmp_path / "there") as address:
        code, output = search(storage, address, tmp_path / "here")
    assert code == 2, output
    assert output.startswith(f"error: --storage {storage}: the node training does not share it (")
    assert "ACCESS_DENIED" in output
    assert output.endswith(
        "); give a directory that all nodes share, or a bucket that all may write to\n"
    )
    assert output.count("\n") == 1
    assert objects(storage) == set()
