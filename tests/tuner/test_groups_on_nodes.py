"""Trials of two workers where no node has room for two."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pandas as pd
import pytest

from tests.tuner.conftest import TINY, Command
from tests.tuner.nodes import free_port, head, own_token, ray_start

FIXED = (
    "--model",
    "own_networks:Witness",
    "--samples",
    "1",
    "--max-epochs",
    "2",
    "--finalists",
    "1",
    *TINY,
)
THINNED = ("--model", "separable", "--samples", "3", "--max-epochs", "3", "--finalists", "1", *TINY)


@pytest.fixture(scope="module", autouse=True)
def token() -> Iterator[None]:
    with own_token():
        yield


@pytest.fixture(scope="module")
def witnesses(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where nodes that are started after it leave a file when they train."""
    with pytest.MonkeyPatch.context() as patch:
        directory = tmp_path_factory.mktemp("witnesses")
        patch.setenv("WITNESSES", str(directory))
        yield directory


@pytest.fixture(scope="module")
def two_nodes(witnesses: Path) -> Iterator[str]:
    """The address of a head that trains nothing, beside two nodes of one core."""
    with ExitStack() as stack:
        address = stack.enter_context(head("--num-cpus=0", port=free_port(), page=free_port()))
        for name in ("first", "second"):
            stack.enter_context(
                ray_start(f"--address={address}", "--num-cpus=1", f"--node-name={name}")
            )
        yield address


def test_two_workers_on_two_nodes_train_as_one_does_with_the_same_batches(
    two_nodes: str, witnesses: Path, command: Command
) -> None:
    for workers, by_node in (("1", ["0 of 1"]), ("2", ["0 of 2", "1 of 2"])):
        search = (
            "--name",
            f"w{workers}",
            "--workers-per-trial",
            workers,
            "--address",
            two_nodes,
            *FIXED,
        )
        code, output = command.run(*search)
        assert code == 0, output
        assert sorted(left_by_each(witnesses)) == by_node
    one, two = (command.table("epochs", f"w{workers}") for workers in ("1", "2"))
    pd.testing.assert_series_equal(one.validation_loss, two.validation_loss, rtol=1e-3)


def left_by_each(witnesses: Path) -> list[str]:
    """What each node's file says; they are gone then."""
    files = list(witnesses.iterdir())
    told = [file.read_text() for file in files]
    for file in files:
        file.unlink()
    return told


def test_a_group_on_two_nodes_that_asha_stops_makes_room_for_the_next(
    two_nodes: str, command: Command
) -> None:
    groups = ("--workers-per-trial", "2", "--address", two_nodes)
    code, output = command.run("--name", "run", *groups, *THINNED, timeout=400)
    assert code == 0, output
    reasons = command.table("trials", "run").stop_reason.tolist()
    assert len(reasons) == 3
    assert "asha" in reasons


def test_groups_on_a_cluster_that_could_not_end_them_are_refused(command: Command) -> None:
    with head("--num-cpus=2", port=free_port()) as address:
        code, output = command.run(
            "--workers-per-trial", "2", "--address", address, *TINY, timeout=100
        )
    assert code == 2, output
    assert output == (
        "error: --workers-per-trial 2: Ray's dashboard does not answer on the head, and without it stopped trials keep "
        "their cores; start the head with `ray start --head --include-dashboard=true`, "
        "or leave --workers-per-trial out\n"
    )
