"""What a finished search left that can be timed: its test images and its finalists' weights."""

from pathlib import Path

from analysis.tables.files import rows_of
from analysis.timing.subjects import Finalist
from trainables.data.image_set import ImageSet, load
from trainables.errors import UsageError, known_runs
from trainables.networks.weights import read_header


def test_images(storage: str, run: str | None, data: str) -> ImageSet:
    """The test split of a run, or of a data source without one.

    Raises ValueError when there is no such run, or when its data is no longer what it was.
    """
    if run is None:
        return load(data).test
    rows = rows_of(Path(storage) / "tables", "runs", run)
    if not rows:
        known = known_runs(Path(storage).glob("tables/runs/run=*"), "give another --storage")
        raise UsageError(f"--run {run}: {storage} has no such run; {known}")
    images = load(rows[0]["data"]).test
    if images.fingerprint != rows[0]["test_fingerprint"]:
        raise ValueError(
            f"--run {run}: {rows[0]['data']} now holds other test images than when the run was made: bring those back"
        )
    return images


def finalists(storage: Path, run: str) -> tuple[Finalist, ...]:
    """The trained networks of a run, confirmations left out, by trial.

    Raises ValueError when the run has none yet.
    """
    confirming = {
        row["trial"]
        for row in rows_of(storage / "tables", "trials", run)
        if row["confirms"] is not None
    }
    model = rows_of(storage / "tables", "runs", run)[0]["model"]
    found = []
    for path in sorted((storage / "networks" / f"run={run}").glob("trial-*.safetensors")):
        trial = read_header(path).facts["trial"]
        if trial not in confirming:
            found.append(Finalist(trial, model, str(path)))
    if not found:
        raise ValueError(
            f"--run {run}: it has no finalists yet; finish it with: python -m tuner.run --resume {run}"
        )
    return tuple(found)
