"""From Ray Tune's callbacks to the tables, the console and the tracker: the one writer of a run's rows."""

import itertools
import statistics
from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ray import tune

from analysis.console import Console, duration, hyperparameters, percent
from analysis.tables.files import GrowingTable, Row
from analysis.tables.ranking import best_epoch, ranked
from analysis.tables.schema import TABLES
from trainables.thresholds import THRESHOLD
from tuner.progress.tracking import Tracker
from tuner.settings import SearchConfig
from tuner.trials.trial import FAILURE_RETRIES

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
    "host",
    "start_sec",
    "reused_process",
    "damaged_checkpoint",
)
FINISHED = frozenset({"max_epochs", "early_stopping", "asha", "diverged"})


class Recorder(tune.Callback):
    """Keeps `trials` and `epochs` up to date in memory, and publishes both while the search runs."""

    def __init__(
        self,
        config: SearchConfig,
        console: Console,
        tracker: Tracker,
        *,
        trials: Iterable[Row] = (),
        epochs: Iterable[Row] = (),
    ) -> None:
        self._config = config
        self._console = console
        self._tracker = tracker
        self._trials = GrowingTable(config.run_storage.tables, "trials", config.name, trials)
        self._epochs = GrowingTable(config.run_storage.tables, "epochs", config.name, epochs)
        self._by_number: dict[int, Row] = {}
        self._curves: dict[int, dict[int, Row]] = defaultdict(dict)
        for row in self._epochs.rows:
            self._curves[row["trial"]][row["epoch"]] = row
        for row in self._trials.rows:
            self._put(self._agreeing(row))
        self._last_reason: dict[int, str] = {}
        self._running: set[int] = set()
        self._started = datetime.now(UTC)
        self._told_precision = False
        self._told_fallbacks: set[str] = set()

    def __getstate__(self) -> dict[str, Any]:
        """Nothing for the pickle that Ray keeps of its callbacks: the state is in the tables."""
        return {}

    @property
    def trials(self) -> list[Row]:
        """All rows of the trials table, in order of their numbers."""
        return sorted(self._trials.rows, key=lambda row: int(row["trial"]))

    # ---------------------------------------------------------------- what Tune calls

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A trial starts, or starts again after its process died."""
        proposal = trial.config
        number = proposal["number"]
        row = self._by_number.get(number)
        if row is None:
            row = self._new_row(proposal)
            told = hyperparameters(row, loss=self._config.mixed_losses)
            self._console.line(f"trial {number:>3}  starts    {told}")
        else:
            row = {
                **row,
                "stop_reason": None,
                "error": None,
                "ended_at": None,
                "restarts": row["restarts"] + 1,
            }
            self._console.line(f"trial {number:>3}  goes on   after epoch {row['epochs']}")
        self._running.add(number)
        self._put(row)
        self._publish_if_due()
        self._tracker.start(number, row)

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """An epoch is done, or the trial says why it can't go on."""
        number = trial.config["number"]
        self._last_reason[number] = result["stop_reason"]
        self._tell_damage(self._by_number[number], result)
        row = {**self._by_number[number], **{k: result[k] for k in FACTS if k in result}}
        if "train_loss" in result:
            if result["epoch"] not in self._curves[number]:
                trial.run_metadata.num_failures = (
                    0  # Ray's own count is over the whole life of a trial
                )
            epoch = {k: result[k] for k in EPOCH_COLUMNS} | {
                "trial": number,
                "reported_at": datetime.now(UTC),
            }
            self._epochs.put(epoch)
            self._curves[number][result["epoch"]] = epoch
            row["peak_mib"] = result["peak_mib"]
            self._tell_precision(result)
            self._tell_fallback(row, result["fallback"])
            self._tracker.log(number, {k: result[k] for k in EPOCH_COLUMNS})
        else:
            row["error"] = result["error"]
        if "checkpoint_path" in result:
            row["checkpoint"] = self._config.run_storage.experiment.address(
                result["checkpoint_path"]
            )
        self._put(self._summed_up(row))
        self._publish_if_due()
        self.show_progress()

    def on_checkpoint(
        self, iteration: int, trials: list[Any], trial: Any, checkpoint: Any, **info: Any
    ) -> None:
        """Ray has kept a checkpoint."""
        self._put(
            {
                **self._by_number[trial.config["number"]],
                "checkpoint": self._config.run_storage.experiment.address(checkpoint.path),
            }
        )

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A trial has ended by itself, or ASHA has stopped it."""
        number = trial.config["number"]
        self.end(number, self._last_reason.get(number) or "asha")

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A trial's process died, or the node under it; it waits to be started again."""
        row = self._by_number.get(trial.config["number"])  # none when it died before it was started
        if row is not None:
            self._console.line(
                f"trial {row['trial']:>3}  was killed after epoch {row['epochs']}", style="yellow"
            )

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A trial's process died again and again without getting through an epoch."""
        row = self._by_number.get(trial.config["number"]) or self._new_row(trial.config)
        error = f"its process died {FAILURE_RETRIES + 1} times in a row, without getting through an epoch"
        if trial.error_file and Path(trial.error_file).exists():
            error = f"{Path(trial.error_file).read_text().strip()}\n{error}"
        self._put({**row, "error": error})
        self.end(row["trial"], "error")

    # ---------------------------------------------------------------- what the search calls

    def unfinished(self) -> list[int]:
        """Trials of the search that did not come to their own end."""
        return [row["trial"] for row in self.trials if row["stop_reason"] not in FINISHED]

    def interrupted(self) -> bool:
        """Whether something ended trials from outside."""
        return any(row["stop_reason"] == "interrupted" for row in self._trials.rows)

    def close(self) -> None:
        """Mark what still runs as interrupted and publish everything."""
        for number in sorted(self._running):
            self.end(number, "interrupted")
        self.publish()

    def _publish_if_due(self) -> None:
        """Storage that fails for a while fails no trial: the rows wait in memory, and `close` says so."""
        with suppress(OSError):
            self._epochs.publish_if_due()
            self._trials.publish_if_due()

    def publish(self) -> None:
        """Write both tables now. Raises OSError when the storage does not take them."""
        self._epochs.publish()
        self._trials.publish()

    def show_progress(self) -> None:
        """Trials done, the best so far, and the time; not for each report, since it looks at every trial."""
        if not self._console.progress_is_due:
            return
        rows = [row for row in self._by_number.values() if row["repeat_of"] is None]
        done = sum(row["stop_reason"] is not None for row in rows)
        elapsed = (datetime.now(UTC) - self._started).total_seconds()
        parts = [f"{done}/{self._config.samples} trials done, {len(self._running)} running"]
        best = next(iter(ranked(rows)), None)
        if best:
            accuracy = percent(best["best_validation_accuracy"])
            parts.append(
                f"best: trial {best['trial']}, loss {best['best_validation_loss']:.2e}, {accuracy}"
            )
        self._console.progress(" · ".join([*parts, f"{duration(elapsed)} elapsed"]))

    # ---------------------------------------------------------------- rows

    def _new_row(self, proposal: dict[str, Any]) -> Row:
        return {
            **dict.fromkeys(column.name for column in TABLES["trials"]),
            "run": self._config.name,
            "trial": proposal["number"],
            "repeat_of": proposal["repeat_of"],
            "model": self._config.model,
            **{
                name: proposal[name]
                for name in ("loss", "learning_rate", "dropout", "patience", "seed")
            },
            "epochs": 0,
            "train_sec": 0.0,
            "restarts": 0,
            "started_at": datetime.now(UTC),
        }

    def _agreeing(self, row: Row) -> Row:
        """The row with what the epochs table has of it: a killed driver may have written either first."""
        curve = self._curves[row["trial"]]
        kept = next(epoch for epoch in itertools.count() if epoch + 1 not in curve)
        if kept < row["epochs"]:
            return {**row, "epochs": kept, "stop_reason": "interrupted"}
        return self._summed_up(row) if kept > row["epochs"] else row

    def _put(self, row: Row) -> None:
        self._by_number[row["trial"]] = row
        self._trials.put(row)

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

    def end(self, number: int, stop_reason: str) -> None:
        """A trial has ended for this reason."""
        row = {**self._by_number[number], "stop_reason": stop_reason, "ended_at": datetime.now(UTC)}
        self._running.discard(number)
        self._put(row)
        self._publish_if_due()
        self._tracker.finish(number, row)
        self._console.line(
            f"trial {number:>3}  {_ending(row)}", style="" if row["error"] is None else "red"
        )
        self.show_progress()

    def _tell_damage(self, row: Row, result: dict[str, Any]) -> None:
        damaged = result.get("damaged_checkpoint", row["damaged_checkpoint"])
        if damaged != row["damaged_checkpoint"]:
            self._console.line(
                f"trial {row['trial']:>3}  passes over {damaged}: it is damaged; goes on with epoch {result['epoch']}",
                style="yellow",
            )

    def _tell_fallback(self, row: Row, fallback: str) -> None:
        if fallback and fallback not in self._told_fallbacks:
            self._told_fallbacks.add(fallback)
            self._console.line(
                f"trial {row['trial']:>3}  on {row['host']} trains {fallback}, so slower",
                style="yellow",
            )

    def _tell_precision(self, result: dict[str, Any]) -> None:
        if not self._told_precision:
            self._told_precision = True
            threads = result["threads"]
            self._console.line(
                f"training in {result['precision']} on {result['device']} "
                f"({result['precision_reason']}), {threads} thread{'s' if threads > 1 else ''} a worker"
                f"{', through torch.compile' if result['compiled'] else ''}"
            )


def _ending(row: Row) -> str:
    if row["error"] is not None:
        return f"{row['stop_reason']:<9} {row['error'].strip().splitlines()[-1]}"
    if row["best_epoch"] is None:
        return f"{row['stop_reason']:<9} before its first epoch was done"
    return (
        f"{row['stop_reason']:<14} after {row['epochs']} epochs ({duration(row['train_sec'])}): "
        f"loss {row['best_validation_loss']:.2e}, {percent(row['best_validation_accuracy'])} "
        f"at cosine ≥ {THRESHOLD} in epoch {row['best_epoch']}"
    )
