"""A node that joins during a search, after all nodes were asked whether they share the storage."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.tuner.conftest import TINY, Command
from tests.tuner.nodes import cannot_hide, free_port, head, own_token, ray_start, without

CANNOT_HIDE = cannot_hide()
pytestmark = pytest.mark.skipif(CANNOT_HIDE is not None, reason=CANNOT_HIDE or "")
LONG = ("--max-epochs", "9999", "--patience", "9999", "9999", "--grace-epochs", "9999")
SEARCH = ("--model", "separable", "--samples", "2", *LONG, *TINY)


@pytest.fixture
def address() -> Iterator[str]:
    with own_token(), head("--num-cpus=1", port=free_port()) as address:
        yield address


def test_a_late_node_that_does_not_share_the_storage_ends_the_search_before_it_takes_all_trials(
    address: str, command: Command, tmp_path: Path
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    with ExitStack() as stack:
        process = command.start("--name", "run", "--address", address, *SEARCH)
        command.wait_for_epochs("run", 1)
        hidden = without(command.storage, empty=empty)
        stack.enter_context(
            ray_start(f"--address={address}", "--num-cpus=1", "--node-name=late", within=hidden)
        )
        output, _ = process.communicate(timeout=120)
    assert process.returncode == 1, output
    experiment = command.storage / "experiments" / "run"
    assert (
        f"error: the search can't go on (the node late does not share {experiment} (no session-001/.shared there); "
        f"mount it there for writing, or give --storage a bucket that all may write to); when that is mended, type "
        f"python -m tuner.run --resume run"
    ) in output
    trials = command.table("trials", "run").sort_values("trial")
    assert trials.stop_reason.tolist() == ["interrupted", "interrupted"]
    assert trials.epochs.tolist()[1] == 0
