"""Where one run lies: the one place that knows the layout below `--storage`."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from analysis.tables import files
from analysis.tables.bucket import copy_of
from analysis.tables.files import Row
from analysis.tables.table_sources import BUCKET
from tuner.storage.experiment import Experiment, trial_directory

BEST_FILE = "best.safetensors"


@dataclass(frozen=True)
class RunStorage:
    """One run within a storage: its tables, its networks, and Ray's state with the checkpoints.

    Attributes:
        storage: A directory, or s3://BUCKET/PATH, as `--storage` takes it.
        name: Name of the run.
    """

    storage: str
    name: str

    @property
    def directory(self) -> Path:
        """The storage, or the copy on this machine of one in a bucket."""
        return copy_of(self.storage) if self.storage.startswith(BUCKET) else Path(self.storage)

    @property
    def tables(self) -> Path:
        """Directory of the parquet tables of all runs."""
        return self.directory / "tables"

    @property
    def networks(self) -> Path:
        """Directory of the finalists' weights."""
        return self.directory / "networks" / f"run={self.name}"

    def weights(self, trial: int) -> Path:
        """The file of a finalist's weights."""
        return self.networks / f"{trial_directory(trial)}.safetensors"

    @cached_property
    def experiment(self) -> Experiment:
        """Ray's state and the checkpoints. Raises UsageError where the storage can't be opened."""
        return Experiment.of(self.storage, self.name)

    def rows(self, table: str) -> list[Row]:
        """The run's rows of a table; none where the run or the table is not there."""
        return files.rows_of(self.tables, table, self.name)

    def publish(self, table: str, rows: Iterable[Row]) -> None:
        """Replace the run's rows of a table. Raises OSError when the storage does not take them."""
        files.publish(self.tables, table, self.name, rows)
