"""Nodes that do not share the storage: from the start, and one that joins during a search."""

from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.tuner.gated_network import GATE, Gate
from tests.tuner.nodes import cannot_hide, ray_start, without
from tests.tuner.on_nodes.conftest import Cluster, InProcess, Waiting, meanwhile

# It is ended, and does not end by itself
LONG = ("--max-epochs", "999", "--grace-epochs", "999", "--patience", "999", "999")


def test_a_node_that_does_not_share_the_storage_is_named_and_nothing_is_left_behind(
    search: InProcess, cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    search.storage = "/proc/self/cwd/results"  # it means another directory on each node
    code, output = search("--wait-for-nodes", "2")
    assert code == 2
    told = "error: --storage /proc/self/cwd/results: the node first does not share it ([Errno 2] "
    assert output.startswith(told) or output.startswith(told.replace("first", "second"))
    assert output.endswith(
        "; give a directory that all nodes share, or a bucket that all may write to\n"
    )
    for directory in (tmp_path, *(cache.parent for cache in cluster.caches)):
        assert not [*directory.rglob(".shared-*")]


@pytest.mark.skipif(cannot_hide() is not None, reason=cannot_hide() or "")
def test_a_late_node_that_does_not_share_the_storage_ends_the_search_before_it_takes_all_trials(
    search: InProcess, cluster: Cluster, gate: Gate, tmp_path: Path
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    gate.crawl()
    with ExitStack() as stack:

        def join(wait: Waiting) -> None:
            wait(lambda: search.has_epochs("run", 2))
            flags = (f"--address={cluster.address}", "--num-cpus=1", "--node-name=late")
            hidden = without(Path(search.storage), empty=empty)
            more = {GATE: str(gate.directory)}
            stack.enter_context(ray_start(*flags, within=hidden, more=more))

        with meanwhile(join):
            code, output = search(
                *("--name", "run", "--model", "gated_network:Gated", "--samples", "4"), *LONG
            )
    assert code == 1, output
    experiment = Path(search.storage) / "experiments" / "run"
    assert (
        f"error: the search can't go on (the node late does not share {experiment} (no "
        f"session-001/.shared there); mount it there for writing, or give --storage a bucket that "
        f"all may write to); when that is mended, type python -m tuner.run --resume run"
    ) in output
    trials = search.table("trials", "run").sort_values("trial")
    assert trials.stop_reason.tolist() == ["interrupted"] * 3
    assert (trials.epochs > 0).tolist() == [True, True, False]
