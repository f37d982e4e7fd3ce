"""What a finished search left that can be timed: its test images and its finalists' weights."""

from dataclasses import replace
from pathlib import Path

from analysis.tables.files import rows_of
from analysis.tables.task_columns import task_of
from analysis.timing.subjects import Finalist
from trainables import own_code
from trainables.data import pairs
from trainables.data.examples import Splits
from trainables.data.loading import load, with_recorded
from trainables.errors import UsageError, known_runs
from trainables.networks.registry import NETWORKS
from trainables.networks.weights import read_header
from trainables.own_process import Say
from trainables.pipelines.catalogue import PIPELINES
from trainables.pipelines.identity import is_same
from trainables.tasks import RECORDED


def data_of(storage: Path, run: str, progress: Say | None) -> Splits:
    """Load the test split of a run, its task as the run has it, and the pipeline's map.

    Args:
        storage: Where the run lies.
        run: Its name.
        progress: Gets lines of what is left to decode.

    Raises:
        UsageError: There is no such run, or its data or its pipeline are no longer what they were.
    """
    rows = rows_of(storage / "tables", "runs", run)
    if not rows:
        known = known_runs(storage.glob("tables/runs/run=*"), "give another --storage")
        raise UsageError(f"--run {run}: {storage} has no such run; {known}")
    (row,) = rows
    task = task_of(row)
    size = task.input_shape[1:]
    if task.pipeline == RECORDED:
        splits = with_recorded(pairs.read(row["data"], size, progress), train_images=1)
    else:
        splits = load(
            row["data"],
            train_images=1,
            pipeline=task.pipeline,
            takes=None if task.pipeline in PIPELINES else task.takes,
            size=size,
            progress=progress,
        )
    if not is_same(splits.probes, row["probe_outputs"], task.span):
        what = row["data"] if task.pipeline == RECORDED else task.pipeline
        raise UsageError(
            f"--run {run}: {what} gives other outputs than when the run was made: bring it back as "
            "it was"
        )
    if splits.test.fingerprint != rows[0]["test_fingerprint"]:
        raise UsageError(
            f"--run {run}: {rows[0]['data']} now holds other test images than when the run was "
            "made: bring those back"
        )
    return replace(splits, task=task)


def finalists(storage: Path, run: str) -> tuple[Finalist, ...]:
    """Find the trained networks of a run that is there, by trial, without repeats of others.

    Raises UsageError when the run has none yet, or their code is not there.
    """
    tables = storage / "tables"
    trained = {
        row["trial"]: row["model"]
        for row in rows_of(tables, "trials", run)
        if row["repeat_of"] is None
    }
    for model in set(trained.values()) - set(NETWORKS):
        own_code.check_there(f"--run {run}: --model", model)
    found = []
    for path in sorted((storage / "networks" / f"run={run}").glob("trial-*.safetensors")):
        trial = read_header(path).facts["trial"]
        if trial in trained:
            found.append(Finalist(trial, trained[trial], str(path)))
    if not found:
        raise UsageError(
            f"--run {run}: it has no finalists yet; finish it with: "
            f"python -m tuner.run --resume {run}"
        )
    return tuple(found)
