"""What Ray Tune calls: each event goes to the tables, the console and W&B."""

import contextlib
import json
import math
import queue
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO, Any

from ray import tune

from analysis.console import Console
from analysis.tables.files import Row
from trainables.errors import cleaned, cut, last_line
from tuner.progress.lines import TrialLines
from tuner.progress.rows import CHOSEN, EPOCH_COLUMNS, RunRow, RunRows
from tuner.settings import ASHA
from tuner.trace import TrialLanes
from tuner.trials.reporter import FAILURE_RETRIES

CLOSE_SEC = 30.0  # for what is still in the pipe when the search has ended
BEST = (
    "best_epoch",
    "best_validation_loss",
    "best_validation_accuracy",
    "best_validation_cosine",
    "best_validation_score",
)
COLUMNS = {
    "start": ("trial", "repeat_of", *CHOSEN),
    "log": EPOCH_COLUMNS,
    "finish": ("stop_reason", "epochs", *BEST),
}


class Tracker:
    """Tracking that is off."""

    def send(self, what: str, row: Row) -> None:
        """Track that a trial starts or goes on, an epoch of it, or that it ends.

        Args:
            what: A key of COLUMNS.
            row: The trial's row, or the epoch's with its trial.
        """

    def end(self) -> None:
        """Say that nothing more comes, so that `close` has less to wait for."""

    def close(self) -> str:
        """Wait a little for what is under way; return a sentence if something was lost."""
        return ""


class WandbTracker(Tracker):
    """Tracking by W&B: one run per trial, grouped by search, in a process that no trial waits for.

    The search hands lines to a thread, and the thread to that process through a pipe. Whatever
    happens behind the pipe, a W&B that is slow, missing or broken costs the search a queue's put.
    """

    def __init__(self, run: str, mode: str, directory: Path, console: Console) -> None:
        """Start the process, whose output goes to a log in `directory`.

        Where it ends before `close`, a line on `console` says so at once.
        """
        self._console = console
        directory.mkdir(parents=True, exist_ok=True)
        self._log = (directory / f"{run}.log").open("ab")
        command = [sys.executable, "-m", "tuner.progress.wandb_process", run, mode, str(directory)]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,  # Ctrl-C is the search's own business
        )
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._is_over = False
        threading.Thread(target=self._feed, args=(self._process.stdin,), daemon=True).start()
        threading.Thread(target=self._watch, daemon=True).start()

    def send(self, what: str, row: Row) -> None:
        """Open the trial's run with its hyperparameters, log to it, or close it with a summary."""
        values = {name: row[name] for name in COLUMNS[what]}
        values |= json.loads(values.pop("parameters", None) or "{}")
        for name, value in values.items():
            if isinstance(value, float) and not math.isfinite(value):
                values[name] = None
        self._lines.put(json.dumps({"what": what, "trial": row["trial"], "values": values}))

    def end(self) -> None:
        """Let the process end while the search goes on to other things."""
        self._is_over = True
        self._lines.put(None)

    def close(self) -> str:
        """Wait at most CLOSE_SEC, then leave W&B behind."""
        self.end()
        try:
            status = self._process.wait(CLOSE_SEC)
        except subprocess.TimeoutExpired:
            self._process.kill()
            status = self._process.wait()
        self._log.close()
        if status == 0:
            return ""
        return f"W&B did not take everything (see {self._log.name}); the tables have all of it"

    def _feed(self, pipe: IO[bytes]) -> None:
        with contextlib.suppress(OSError), pipe:  # a process that has died takes nothing more
            while (line := self._lines.get()) is not None:
                pipe.write(line.encode() + b"\n")
                pipe.flush()

    def _watch(self) -> None:
        self._process.wait()
        if not self._is_over:
            log = Path(self._log.name)
            self._console.line(
                f"W&B has ended ({last_line(log.read_text(errors='replace'))}; see {log}): the "
                f"search goes on without it, and the tables have everything",
                style="yellow",
            )


def tracker(mode: str, run: str, storage: Path, console: Console) -> Tracker:
    """Return the tracker that `--wandb` asks for."""
    if mode == "disabled":
        return Tracker()
    return WandbTracker(run, mode, storage / "wandb", console)


class Recorder(tune.Callback):
    """The one callback of a search."""

    def __init__(
        self,
        rows: RunRows,
        lines: TrialLines,
        tracker: Tracker,
        scheduler: str = ASHA,
        run: RunRow | None = None,
    ) -> None:
        """Begin with the rows of earlier sessions.

        Args:
            rows: The tables.
            lines: The console.
            tracker: W&B.
            scheduler: The stop reason of a trial that has not ended by itself.
            run: Is told how long the search still takes; None where nobody asks.
        """
        self.rows = rows
        self._lines = lines
        self._tracker = tracker
        self._scheduler = scheduler
        self._run = run
        self._last_reason: dict[int, str] = {}
        self._lanes = TrialLanes()

    def __getstate__(self) -> dict[str, Any]:
        """Nothing for the pickle that Ray keeps of its callbacks: the state is in the tables."""
        return {}

    def setup(self, *args: Any, **info: Any) -> None:
        """Tune begins."""
        self._lanes.ask()

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A trial starts, or starts again after its process died."""
        row = self.rows.start(trial.config)
        self._lanes.begin(row["trial"])
        self._lines.started(row)
        self.rows.publish_if_due()
        self._tracker.send("start", row)

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """An epoch is done, or the trial says why it can't go on."""
        number = trial.config["number"]
        self._last_reason[number] = result["stop_reason"]
        self._lanes.epoch(number, result)
        before = self.rows.trial(number)
        if self.rows.report(number, result):
            # Ray's own count is over the whole life of a trial
            trial.run_metadata.num_failures = 0
        if before is not None:
            self._lines.reported(before, result)
        if "train_loss" in result:
            self._tracker.send("log", {**result, "trial": number})
        self.rows.publish_if_due()
        self._lines.progress(self.rows)
        if self._run and self._run.left_is_due:
            self._run.expect(self.rows.left_sec(self._lines.samples))

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Tune has looked for events, a few times a second: what was not due yet may be now."""
        self.rows.publish_if_due()

    def on_checkpoint(
        self, iteration: int, trials: list[Any], trial: Any, checkpoint: Any, **info: Any
    ) -> None:
        self.rows.keep_checkpoint(trial.config["number"], checkpoint.path)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A trial has ended by itself, or the scheduler has stopped it."""
        number = trial.config["number"]
        self.end(number, self._last_reason.get(number) or self._scheduler)

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A trial's process died, or the node under it; it waits to be started again."""
        number = trial.config["number"]
        self._lanes.end(number, "its process died")
        row = self.rows.trial(number)
        if row is not None:  # it is None when the process died before the trial was started
            self._lines.killed(row)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A trial's process died again and again without getting through an epoch."""
        number = trial.config["number"]
        if self.rows.trial(number) is None:
            self.rows.start(trial.config)
        error = (
            f"its process died {FAILURE_RETRIES + 1} times in a row, "
            f"without getting through an epoch"
        )
        if trial.error_file and Path(trial.error_file).exists():
            text = Path(trial.error_file).read_text(errors="backslashreplace").strip()
            error = f"{cut(cleaned(text))}\n{error}"
        self.end(number, "error", error=error)

    def end(self, number: int, stop_reason: str, **more: Any) -> None:
        """Record that a trial has ended, why, and what more its row says now."""
        self._lanes.end(number, stop_reason)
        row = self.rows.end(number, stop_reason, **more)
        self.rows.publish_if_due()
        self._tracker.send("finish", row)
        self._lines.ended(row)
        self._lines.progress(self.rows)

    def close(self) -> None:
        """Mark what still runs as interrupted, and publish everything. Raises OSError."""
        self._lanes.close()
        for number in sorted(self.rows.running):
            self.end(number, "interrupted")
        self.rows.publish()
