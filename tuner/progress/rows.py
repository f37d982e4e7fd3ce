"""The rows of a run's tables `trials` and `epochs`, which this process alone writes."""

import itertools
import statistics
from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from analysis.tables.files import GrowingTable, Row
from analysis.tables.ranking import best_epoch
from analysis.tables.schema import TABLES
from trainables.hyperparameters import HYPERPARAMETERS
from tuner.storage.run_storage import RunStorage

CHOSEN = ("loss", *HYPERPARAMETERS, "seed")  # what a proposal says of a trial
EPOCH_COLUMNS = (
    "epoch",
    "train_loss",
    "validation_loss",
    "validation_accuracy",
    "validation_cosine",
    "train_sec",
    "validation_sec",
    "images_per_sec",
)
FACTS = (
    "device",
    "precision",
    "compiled",
    "threads",
    "perceptual_batch",
    "peak_mib",
    "host",
    "start_sec",
    "reused_process",
    "damaged_checkpoint",
)
FINISHED = frozenset({"max_epochs", "early_stopping", "asha", "diverged"})
"""Stop reasons of trials that came to their own end."""


class RunRows:
    """Trials and epochs of a run in memory, published while the search goes on."""

    def __init__(
        self,
        run: RunStorage,
        model: str,
        trials: Iterable[Row] = (),
        epochs: Iterable[Row] = (),
    ) -> None:
        """Begin with the rows of earlier sessions, where there are any."""
        self._run = run
        self._model = model
        self._trials = GrowingTable(run.tables, "trials", run.name, trials)
        self._epochs = GrowingTable(run.tables, "epochs", run.name, epochs)
        self._by_number: dict[int, Row] = {}
        self._curves: dict[int, dict[int, Row]] = defaultdict(dict)
        for row in self._epochs.rows:
            self._curves[row["trial"]][row["epoch"]] = row
        for row in self._trials.rows:
            self._put(self._agreeing(row))
        self.running: set[int] = set()

    @property
    def trials(self) -> list[Row]:
        """All rows of the trials table, in the order of their numbers."""
        return sorted(self._by_number.values(), key=lambda row: int(row["trial"]))

    def trial(self, number: int) -> Row | None:
        """Return the row of a trial; None before it is started for the first time."""
        return self._by_number.get(number)

    def unfinished(self) -> list[int]:
        """Return the trials that did not come to their own end."""
        return [row["trial"] for row in self.trials if row["stop_reason"] not in FINISHED]

    def start(self, proposal: dict[str, Any]) -> Row:
        """Note that a trial starts, or goes on after its process died; return its row."""
        row = self._by_number.get(proposal["number"])
        if row is None:
            row = {
                **dict.fromkeys(column.name for column in TABLES["trials"]),
                "run": self._run.name,
                "trial": proposal["number"],
                "repeat_of": proposal["repeat_of"],
                "model": self._model,
                **{name: proposal[name] for name in CHOSEN},
                "epochs": 0,
                "train_sec": 0.0,
                "restarts": 0,
                "started_at": datetime.now(UTC),
            }
        else:
            again = {"stop_reason": None, "error": None, "ended_at": None}
            row = {**row, **again, "restarts": row["restarts"] + 1}
        self.running.add(row["trial"])
        self._put(row)
        return row

    def report(self, number: int, result: dict[str, Any]) -> bool:
        """Note what a trial reports: an epoch, or why it can't go on.

        Returns:
            Whether it is an epoch that was not known yet.
        """
        row = {**self._by_number[number], **{k: result[k] for k in FACTS if k in result}}
        is_new = False
        if "train_loss" in result:
            epoch = {k: result[k] for k in EPOCH_COLUMNS}
            epoch |= {"trial": number, "reported_at": datetime.now(UTC)}
            is_new = epoch["epoch"] not in self._curves[number]
            self._epochs.put(epoch)
            self._curves[number][epoch["epoch"]] = epoch
        else:
            row["error"] = result["error"]
        if "checkpoint_path" in result:
            row["checkpoint"] = self._run.experiment.address(result["checkpoint_path"])
        self._put(self._summed_up(row))
        return is_new

    def keep_checkpoint(self, number: int, path: str) -> None:
        """Note where a trial's newest checkpoint lies."""
        address = self._run.experiment.address(path)
        self._put({**self._by_number[number], "checkpoint": address})

    def fail(self, number: int, error: str) -> None:
        """Note the error of a trial that could not report it itself."""
        self._put({**self._by_number[number], "error": error})

    def end(self, number: int, stop_reason: str) -> Row:
        """Note that a trial has ended, and why; return its row."""
        ended_at = datetime.now(UTC)
        row = {**self._by_number[number], "stop_reason": stop_reason, "ended_at": ended_at}
        self.running.discard(number)
        self._put(row)
        return row

    def publish_if_due(self) -> None:
        """Write both tables unless that was a short while ago.

        A storage that fails for a while fails no trial: the rows wait in memory, and `publish`
        says so at the end.
        """
        with suppress(OSError):
            self._epochs.publish_if_due()
            self._trials.publish_if_due()

    def publish(self) -> None:
        """Write both tables now. Raises OSError when the storage does not take them."""
        self._epochs.publish()
        self._trials.publish()

    def _put(self, row: Row) -> None:
        self._by_number[row["trial"]] = row
        self._trials.put(row)

    def _agreeing(self, row: Row) -> Row:
        """The row with what its epochs say: a killed driver may have written either table first."""
        curve = self._curves[row["trial"]]
        kept = next(epoch for epoch in itertools.count() if epoch + 1 not in curve)
        if kept < row["epochs"]:
            return {**row, "epochs": kept, "stop_reason": "interrupted"}
        return self._summed_up(row) if kept > row["epochs"] else row

    def _summed_up(self, row: Row) -> Row:
        """The row with what its epochs say: best epoch, medians, totals."""
        epochs = list(self._curves[row["trial"]].values())
        if not epochs:
            return row
        seconds = [e["train_sec"] + e["validation_sec"] for e in epochs]
        summary = {
            "epochs": max(e["epoch"] for e in epochs),
            "train_sec": sum(seconds),
            "epoch_sec": statistics.median(seconds),
            "images_per_sec": statistics.median(e["images_per_sec"] for e in epochs),
        }
        best = best_epoch(epochs)
        if best:
            summary |= {
                "best_epoch": best["epoch"],
                "best_validation_loss": best["validation_loss"],
                "best_validation_accuracy": best["validation_accuracy"],
                "best_validation_cosine": best["validation_cosine"],
            }
        return {**row, **summary}
