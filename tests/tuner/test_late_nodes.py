"""A node that joins during a search, after all nodes were asked whether they share the storage."""

import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.tuner.conftest import TINY, Command, until
from tests.tuner.nodes import cannot_hide, free_port, head, own_token, ray_start, without

CANNOT_HIDE = cannot_hide()
pytestmark = pytest.mark.skipif(CANNOT_HIDE is not None, reason=CANNOT_HIDE or "")
LONG = ("--max-epochs", "9999", "--patience", "9999", "9999", "--grace-epochs", "9999")
SEARCH = ("--model", "separable", "--samples", "2", *LONG, *TINY)


@pytest.fixture
def address() -> Iterator[str]:
    with own_token(), head("--num-cpus=1", port=free_port()) as address:
        yield address


def test_a_trial_on_a_late_node_that_does_not_share_the_storage_says_so(
    address: str, command: Command, tmp_path: Path
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    with ExitStack() as stack:
        process = command.start("--name", "run", "--address", address, *SEARCH)
        command.wait_for_epochs("run", 1)
        hidden = without(command.storage, empty=empty)
        stack.enter_context(ray_start(f"--address={address}", "--num-cpus=1", "--node-name=late", within=hidden))
        until(lambda: command.table("trials", "run").error.notna().any())
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
    first, second = command.table("trials", "run").sort_values("trial").itertuples()
    assert (first.stop_reason, first.restarts) == ("interrupted", 0)
    assert (second.stop_reason, second.restarts, second.epochs) == ("error", 0, 0)
    experiment = command.storage / "experiments" / "run"
    assert second.error.strip().splitlines()[-1] == (
        f"OSError: the node late does not share {experiment} (it can't read session-001/.shared there); "
        f"mount it there, or give --storage a bucket that all may write to"
    )
