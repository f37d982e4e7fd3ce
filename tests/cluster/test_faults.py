"""What breaks on a cluster, in one search: a cable, half the workers, the head."""

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from analysis.tables.files import read
from tests.cluster.conftest import FILE, Cluster, succeeds
from tests.cluster.hosts import SHARED, Host, missing

MISSING = missing()
pytestmark = pytest.mark.skipif(MISSING is not None, reason=MISSING or "")

TRIALS, EPOCHS = 12, 3  # an epoch takes a second, but at the gate
SEARCH = (
    f"--model gated_network:Slow --data photos --images 2000 --samples {TRIALS} "
    f"--max-epochs {EPOCHS} --patience 99 99 --grace-epochs {EPOCHS} "
    f"--cpus-per-trial {os.cpu_count()} --wait-for-nodes 2 --finalists 1 --timing none "
    "--wandb disabled"
)


class Search:
    """A search that a person has started on the head."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.outputs: list[Path] = []
        self.process = self._start(f"--name long {SEARCH}")

    def resume(self) -> None:
        self.process = self._start("--resume long")

    @property
    def output(self) -> str:
        """What it printed until now, before the head was killed and after."""
        return "".join(path.read_text() for path in self.outputs)

    def _start(self, flags: str) -> subprocess.Popen[bytes]:
        search = f"python -m tuner.run --address auto --storage {SHARED} {flags}"
        self.outputs.append(self.cluster.person.directory / f"search-{len(self.outputs)}")
        return self.cluster.person.start(
            f"ray exec {FILE} 'cd transform-tuner && {search}'", self.outputs[-1]
        )

    def table(self, name: str) -> pd.DataFrame:
        """As anybody can read it at any time; empty before there is one."""
        tables = self.cluster.shared / "tables"
        return (
            read(tables, name, "long")
            if (tables / name / "run=long").exists()
            else pd.DataFrame({"trial": []})
        )

    def running_at(self, host: Host) -> set[int]:
        trials = self.table("trials")
        if "host" not in trials:
            return set()
        return set(trials[(trials.host == host.name) & trials.stop_reason.isna()].trial)

    def done(self) -> set[int]:
        """Trials that have ended."""
        trials = self.table("trials")
        return set(trials[trials.stop_reason.notna()].trial) if "stop_reason" in trials else set()

    def waits_for(self, true: Callable[[], object], otherwise: str, timeout: float = 240) -> None:
        end = time.monotonic() + timeout
        while not true():
            assert self.process.poll() is None, f"{otherwise}, it has ended: {self.output}"
            assert time.monotonic() < end, f"{otherwise}: {self.output}"
            time.sleep(0.05)


def test_a_search_outlives_a_cut_cable_half_its_workers_and_the_head(cluster: Cluster) -> None:
    first, second = cluster.workers
    gate = cluster.gate
    gate.hold_after(1)
    search = Search(cluster)
    search.waits_for(
        lambda: search.running_at(first) and search.running_at(second), "trials do not spread"
    )

    cut = search.running_at(first)
    first.cut()
    search.waits_for(lambda: "was killed after epoch" in search.output, "nobody misses the node")
    gate.open()
    search.waits_for(
        lambda: cut <= search.running_at(second) | search.done(), "trials do not leave a lost node"
    )
    gate.hold_after(1)
    first.join()
    search.waits_for(lambda: search.running_at(first), "a node that is back gets no work")

    search.waits_for(lambda: search.running_at(second), "a node that was never away gets no work")
    taken = search.running_at(second)
    second.kill_everything()
    gate.open()
    search.waits_for(
        lambda: taken <= search.running_at(first) | search.done(),
        "trials do not leave a taken node",
    )

    gate.hold_after(1)
    cluster.head.kill_everything()
    assert search.process.wait(120) != 0
    before = search.table("epochs")
    gate.open()
    succeeds(cluster.person, f"ray up -y {FILE}", timeout=240)
    search.resume()
    assert search.process.wait(400) == 0, search.output

    trials, epochs = search.table("trials"), search.table("epochs")
    assert trials.stop_reason.tolist() == ["max_epochs"] * TRIALS
    assert (
        epochs.groupby("trial").epoch.apply(sorted).tolist()
        == [list(range(1, EPOCHS + 1))] * TRIALS
    )
    # What is written again is the last epoch of the two that ran
    kept = epochs.merge(before, on=["trial", "epoch", "reported_at"])
    assert len(kept) >= len(before) - 2
    assert "Traceback" not in search.output
