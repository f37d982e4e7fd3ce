"""The job for Slurm: it searches on all its nodes, ends before its limit, and goes on by itself."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from analysis.tables.files import read
from tests.cluster.hosts import SHARED
from tests.cluster.slurm import Slurm, missing, slurm
from tests.paths import ROOT
from tests.tuner.few_images import write_few_images
from tests.tuner.gated_network import GATE, Gate
from tests.waiting import until

MISSING = missing()
pytestmark = pytest.mark.skipif(MISSING is not None, reason=MISSING or "")
SEARCH = (
    "--model gated_network:Gated --data /srv/images --samples 8 --max-epochs 2 --grace-epochs 2 "
    "--timing none --wandb disabled"
)
GOES_ON = ("PENDING", "RUNNING", "COMPLETING", "REQUEUED")
EDITED = {  # what a person changes
    "#SBATCH --gpus-per-node=1\n": "",
    "STORAGE=$HOME/transform-tuner-results": f"STORAGE={SHARED}/results",
    "SEARCH=(--model cnn --samples 64)": f"SEARCH=({SEARCH})",
}


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Slurm]:
    with slurm(tmp_path, nodes=2) as cluster:
        yield cluster


def write_job(directory: Path) -> None:
    text = (ROOT / "clusters" / "slurm.sh").read_text()
    for asked, here in EDITED.items():
        assert text.count(asked) == 1
        text = text.replace(asked, here)
    (directory / "slurm.sh").write_text(text)
    (directory / ".venv").symlink_to(sys.prefix)


def rows(cluster: Slurm, table: str) -> int:
    tables = cluster.shared / "results" / "tables"
    is_there = (tables / table / "run=search" / f"{table}.parquet").exists()
    return len(read(tables, table, "search")) if is_there else 0


def wait_for(cluster: Slurm, number: str, true: Callable[[], bool]) -> None:
    """Until it is true, unless the job ends before."""
    until(lambda: true() or cluster.job(number)["JobState"] not in GOES_ON)
    logs = (path.read_text() for path in sorted(cluster.shared.glob("*.log")))
    assert true(), "\n".join([str(cluster.job(number)), *logs])


def test_a_search_on_two_nodes_ends_before_its_time_limit_is_queued_again_and_goes_on(
    cluster: Slurm,
) -> None:
    write_job(cluster.shared)
    write_few_images(cluster.shared / "images")
    (cluster.shared / "gate").mkdir()
    gate = Gate(cluster.shared / "gate")
    gate.hold_after(1)
    paths = f"PYTHONPATH={ROOT}:{ROOT}/tests/tuner {GATE}={SHARED}/gate"
    number = cluster.run(f"{paths} sbatch --parsable slurm.sh").strip()

    wait_for(cluster, number, lambda: rows(cluster, "epochs") == 2)
    assert len({node for node, _, _ in gate.witnesses()}) == 2
    cluster.run(f"scancel --batch --signal=USR1 {number}")  # as Slurm does before the limit
    wait_for(cluster, number, lambda: cluster.job(number)["Restarts"] == "1")
    gate.open()
    wait_for(cluster, number, lambda: cluster.job(number)["JobState"] == "COMPLETED")

    log = (cluster.shared / f"transform-tuner-{number}.log").read_text()
    assert log.count("Interrupted. What is finished is kept; go on with") == 1
    assert log.count(" goes on   after epoch 1\n") == 2
    trials = read(cluster.shared / "results" / "tables", "trials", "search")
    assert trials.stop_reason.tolist() == ["max_epochs"] * 8
    assert trials.epochs.tolist() == [2] * 8
