"""W&B, or nothing: one run per trial, grouped by search, in a process that no trial waits for.

The search hands lines to a thread, the thread to `python -m tuner.progress.wandb_process` through a
pipe. Whatever happens behind the pipe, a W&B that is slow, missing or broken costs the search a
queue's put.
"""

import contextlib
import json
import math
import queue
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO, Any

from analysis.tables.files import Row
from tuner.progress.rows import CHOSEN

CLOSE_SEC = 30.0  # for what is still in the pipe when the search has ended
BEST = ("best_epoch", "best_validation_loss", "best_validation_accuracy", "best_validation_cosine")
LOGGED_AT_END = ("stop_reason", "epochs", *BEST)
LOGGED_AT_START = ("trial", "repeat_of", "model", *CHOSEN)


class Tracker:
    """Tracking that is off."""

    def start(self, trial: int, row: Row) -> None:
        """A trial starts or goes on."""

    def log(self, trial: int, values: dict[str, Any]) -> None:
        """An epoch's values."""

    def finish(self, trial: int, row: Row) -> None:
        """A trial has ended."""

    def close(self) -> str:
        """Wait a little for what is under way; return a sentence if something was lost."""
        return ""


class WandbTracker(Tracker):
    """Tracking by W&B, in a process of its own."""

    def __init__(self, run: str, mode: str, directory: Path) -> None:
        """Start the process, whose output goes to a log in `directory`."""
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
        self._thread = threading.Thread(target=self._feed, args=(self._process.stdin,), daemon=True)
        self._thread.start()

    def start(self, trial: int, row: Row) -> None:
        """Open the trial's run, with its hyperparameters as the configuration."""
        self._send("start", trial, {name: row[name] for name in LOGGED_AT_START})

    def log(self, trial: int, values: dict[str, Any]) -> None:
        """Log an epoch."""
        self._send("log", trial, values)

    def finish(self, trial: int, row: Row) -> None:
        """Write the summary and close the trial's run."""
        self._send("finish", trial, {name: row.get(name) for name in LOGGED_AT_END})

    def close(self) -> str:
        """Wait at most CLOSE_SEC, then leave W&B behind."""
        self._lines.put(None)
        try:
            status = self._process.wait(CLOSE_SEC)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            status = -1
        self._log.close()
        if status == 0:
            return ""
        return f"W&B did not take everything (see {self._log.name}); the tables have all of it"

    def _send(self, what: str, trial: int, values: dict[str, Any]) -> None:
        plain = {
            k: v if not isinstance(v, float) or math.isfinite(v) else None
            for k, v in values.items()
        }
        self._lines.put(json.dumps({"what": what, "trial": trial, "values": plain}))

    def _feed(self, pipe: IO[bytes]) -> None:
        with contextlib.suppress(OSError), pipe:  # a process that has died takes nothing more
            while (line := self._lines.get()) is not None:
                pipe.write(line.encode() + b"\n")
                pipe.flush()


def tracker(mode: str, run: str, storage: Path) -> Tracker:
    """Return the tracker that `--wandb` asks for."""
    return Tracker() if mode == "disabled" else WandbTracker(run, mode, storage / "wandb")
