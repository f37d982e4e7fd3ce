"""A cluster that can't be joined: who does not answer, who wants another token, and what to type."""

import os
import secrets
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tuner.conftest import TINY, Command
from tests.tuner.nodes import free_port, head, own_token
from tuner.cluster.reachable import check_reachable

NOTHING_THERE = "127.0.0.1:1"
RAYS_PATIENCE_SEC = 20


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with own_token(), head("--num-cpus=0", port=free_port()) as address:
        yield address


def refused(command: Command, address: str) -> str:
    code, output = command.run("--address", address, *TINY, timeout=100)
    assert code == 2, output
    assert output.count("\n") == 1
    start = f"error: --address {address}: "
    assert output.startswith(start)
    return output.removeprefix(start)


def test_another_token_is_told_with_where_the_right_one_is(
    address: str, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
    assert refused(command, address) == (
        "the cluster there has another token than this machine; copy ~/.ray/auth_token from its head, "
        "and unset RAY_AUTH_TOKEN if it is set\n"
    )


def test_no_token_is_told_with_where_there_is_one(
    address: str, command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("RAY_AUTH_TOKEN")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert refused(command, address) == (
        "there is no token on this machine; copy ~/.ray/auth_token from the head of the cluster, "
        "or set RAY_AUTH_MODE=disabled if it was started without one\n"
    )


def test_a_token_that_is_kept_back_is_told(
    address: str, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    assert refused(command, address) == (
        "the cluster there asks for a token, and RAY_AUTH_MODE=disabled sends none; unset RAY_AUTH_MODE\n"
    )


@pytest.mark.usefixtures("address")
def test_nobody_there_is_told(command: Command) -> None:
    assert refused(command, NOTHING_THERE) == (
        "no Ray cluster answers there (Connection refused); give the HOST:PORT that `ray start --head` told "
        "on its head, or leave --address out to start one on this machine\n"
    )


@pytest.mark.usefixtures("address")
def test_what_is_no_address_is_told(command: Command) -> None:
    assert refused(command, "somewhere").startswith(
        "there is no such cluster (Invalid address format: somewhere); "
    )


@pytest.mark.usefixtures("address")
def test_rays_word_for_a_cluster_of_ones_own_is_told_before_any_other_is_met(
    command: Command,
) -> None:
    assert refused(command, "local") == (
        "it names no cluster that runs; give its head as HOST:PORT, "
        "or leave --address out to start one on this machine\n"
    )


def test_a_package_that_is_too_large_for_ray_is_told_with_the_limit_and_the_way_out(
    address: str, command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    package = tmp_path / "heavy"
    package.mkdir()
    (package / "__init__.py").write_text(
        "from trainables.networks.separable import Separable as Mine\n"
    )
    (package / "weights.bin").write_bytes(os.urandom(5 * 2**20))
    monkeypatch.setenv("RAY_max_grpc_message_size", str(4 * 2**20))
    process = command.start("--address", address, "--model", "heavy:Mine", *TINY, cwd=tmp_path)
    output, _ = process.communicate(timeout=100)
    assert process.returncode == 2, output
    assert output == (
        f"error: --model heavy:Mine: its code can't be sent to the nodes (Failed to upload module {package} to the "
        f"Ray cluster: Package size (5.00MiB) exceeds the maximum size of 4.00MiB); Ray takes packages below 4 MiB: "
        f"move large files out of the package, or into a directory `data` in it, which stays here\n"
    )


def test_asking_takes_none_of_rays_patience(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for there, mode in ((address, "disabled"), (NOTHING_THERE, "token")):
        monkeypatch.setenv("RAY_AUTH_MODE", mode)
        started = time.monotonic()
        with pytest.raises(ValueError, match="there"):
            check_reachable(there)
        assert time.monotonic() - started < RAYS_PATIENCE_SEC / 2, os.environ["RAY_AUTH_MODE"]
