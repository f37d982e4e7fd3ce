"""What Ray Tune calls: each event goes to the tables, the console and the tracker."""

from pathlib import Path
from typing import Any

from ray import tune

from tuner.progress.lines import TrialLines
from tuner.progress.rows import EPOCH_COLUMNS, RunRows
from tuner.progress.tracking import Tracker
from tuner.trials.trial_setup import FAILURE_RETRIES


class Recorder(tune.Callback):
    """The one callback of a search."""

    def __init__(self, rows: RunRows, lines: TrialLines, tracker: Tracker) -> None:
        self.rows = rows
        self._lines = lines
        self._tracker = tracker
        self._last_reason: dict[int, str] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Nothing for the pickle that Ray keeps of its callbacks: the state is in the tables."""
        return {}

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A trial starts, or starts again after its process died."""
        row = self.rows.start(trial.config)
        self._lines.started(row)
        self.rows.publish_if_due()
        self._tracker.start(row["trial"], row)

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """An epoch is done, or the trial says why it can't go on."""
        number = trial.config["number"]
        self._last_reason[number] = result["stop_reason"]
        before = self.rows.trial(number)
        if self.rows.report(number, result):
            # Ray's own count is over the whole life of a trial
            trial.run_metadata.num_failures = 0
        if before is not None:
            self._lines.reported(before, result)
        if "train_loss" in result:
            self._tracker.log(number, {name: result[name] for name in EPOCH_COLUMNS})
        self.rows.publish_if_due()
        self._lines.progress(self.rows)

    def on_checkpoint(
        self, iteration: int, trials: list[Any], trial: Any, checkpoint: Any, **info: Any
    ) -> None:
        """Ray has kept a checkpoint."""
        self.rows.keep_checkpoint(trial.config["number"], checkpoint.path)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A trial has ended by itself, or ASHA has stopped it."""
        number = trial.config["number"]
        self.end(number, self._last_reason.get(number) or "asha")

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A trial's process died, or the node under it; it waits to be started again."""
        row = self.rows.trial(trial.config["number"])
        if row is not None:  # it is None when the process died before the trial was started
            self._lines.killed(row)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A trial's process died again and again without getting through an epoch."""
        number = trial.config["number"]
        if self.rows.trial(number) is None:
            self.rows.start(trial.config)
        times = FAILURE_RETRIES + 1
        error = f"its process died {times} times in a row, without getting through an epoch"
        if trial.error_file and Path(trial.error_file).exists():
            error = f"{Path(trial.error_file).read_text().strip()}\n{error}"
        self.rows.fail(number, error)
        self.end(number, "error")

    def end(self, number: int, stop_reason: str) -> None:
        """Record that a trial has ended, and why."""
        row = self.rows.end(number, stop_reason)
        self.rows.publish_if_due()
        self._tracker.finish(number, row)
        self._lines.ended(row)
        self._lines.progress(self.rows)

    def close(self) -> None:
        """Mark what still runs as interrupted, and publish everything. Raises OSError."""
        for number in sorted(self.rows.running):
            self.end(number, "interrupted")
        self.rows.publish()
