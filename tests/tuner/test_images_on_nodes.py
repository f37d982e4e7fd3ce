"""Images go to a node once, however many trials and processes train on them there."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.tuner.conftest import TINY, Command
from tests.tuner.nodes import free_port, head, own_token, ray_start
from trainables.data.loading import load

# All that was ever put into a node's object store, by whichever way
COUNT_BYTES = """
import sys, ray
from ray._private.internal_api import node_stats
ray.init(sys.argv[1], log_to_driver=False, logging_level="ERROR")
node, = [node for node in ray.nodes() if node["NodeName"] == "training"]
stats = node_stats(node["NodeManagerAddress"], node["NodeManagerPort"], include_memory_info=False).store_stats
print("bytes:", stats.cumulative_created_bytes)
"""


@pytest.fixture
def address() -> Iterator[str]:
    """A head that trains nothing, beside one node where two trials train at once."""
    with ExitStack() as stack:
        stack.enter_context(own_token())
        address = stack.enter_context(head("--num-cpus=0", port=free_port()))
        stack.enter_context(
            ray_start(f"--address={address}", "--num-cpus=2", "--node-name=training")
        )
        yield address


def bytes_received(address: str) -> int:
    script = [sys.executable, "-c", COUNT_BYTES, address]
    done = subprocess.run(script, capture_output=True, text=True, check=True)
    return int(done.stdout.rpartition("bytes: ")[2])


def bytes_of_images() -> int:
    cut = load("photos").cut(int(TINY[TINY.index("--images") + 1]))
    parts = (cut.train, cut.validation)
    return sum(tensor.nbytes for part in parts for tensor in (part.images, part.targets))


def test_the_images_of_four_trials_in_two_processes_arrive_once(
    address: str, command: Command
) -> None:
    before = bytes_received(address)
    # Long enough for the second process to start before the first has trained them all
    epochs = ("--max-epochs", "60", "--grace-epochs", "60", "--patience", "60", "60")
    search = ("--model", "separable", "--samples", "4", *epochs, "--finalists", "1", *TINY)
    code, output = command.run("--name", "run", "--address", address, *search)
    assert code == 0, output
    trials = command.table("trials", "run")
    assert len(trials) == 4
    assert (~trials.reused_process.astype(bool)).sum() >= 2
    once = bytes_of_images()
    assert once <= bytes_received(address) - before < 1.5 * once
