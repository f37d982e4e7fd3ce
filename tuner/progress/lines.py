"""The lines that a search prints of its trials, and the line that shows how far it is."""

import time
from typing import Any

from analysis.console import Console, duration, hyperparameters, percent
from analysis.tables.files import Row
from analysis.tables.ranking import ranked
from trainables.errors import last_line
from trainables.thresholds import THRESHOLD
from tuner.progress.rows import RunRows

WARNING, ERROR = "yellow", "red"


class TrialLines:
    """What the console shows while trials run."""

    def __init__(self, console: Console, *, samples: int, mixed_losses: bool) -> None:
        """Begin a session.

        Args:
            console: Where to print.
            samples: Trials of the search.
            mixed_losses: Whether the loss is one of the hyperparameters.
        """
        self._console = console
        self._samples = samples
        self._mixed_losses = mixed_losses
        self._started = time.monotonic()
        self._shows_precision = True
        self._fallbacks: set[str] = set()

    def started(self, row: Row) -> None:
        """A trial starts, or goes on."""
        if row["restarts"]:
            text = f"goes on   after epoch {row['epochs']}"
        else:
            text = f"starts    {hyperparameters(row, loss=self._mixed_losses)}"
        self._line(row, text)

    def reported(self, row: Row, result: dict[str, Any]) -> None:
        """A trial has reported: whatever is worth a line, the first time.

        Args:
            row: The trial before this report.
            result: The report.
        """
        damaged = result.get("damaged_checkpoint", row["damaged_checkpoint"])
        if damaged != row["damaged_checkpoint"]:
            text = f"passes over {damaged}: it is damaged; goes on with epoch {result['epoch']}"
            self._line(row, text, WARNING)
        if "train_loss" not in result:
            return
        if self._shows_precision:
            self._shows_precision = False
            self._precision(result)
        fallback = result["fallback"]
        if fallback and fallback not in self._fallbacks:
            self._fallbacks.add(fallback)
            self._line(row, f"on {result['host']} trains {fallback}, so slower", WARNING)

    def killed(self, row: Row) -> None:
        """A trial's process has died, and it waits to be started again."""
        self._line(row, f"was killed after epoch {row['epochs']}", WARNING)

    def ended(self, row: Row) -> None:
        """A trial has ended."""
        self._line(row, _ending(row), "" if row["error"] is None else ERROR)

    def progress(self, rows: RunRows) -> None:
        """Trials done, the best so far, and the time. Not each time: it looks at every trial."""
        if not self._console.progress_is_due:
            return
        trials = [row for row in rows.trials if row["repeat_of"] is None]
        done = sum(row["stop_reason"] is not None for row in trials)
        parts = [f"{done}/{self._samples} trials done, {len(rows.running)} running"]
        best = next(iter(ranked(trials)), None)
        if best:
            loss, accuracy = best["best_validation_loss"], best["best_validation_accuracy"]
            parts.append(f"best: trial {best['trial']}, loss {loss:.2e}, {percent(accuracy)}")
        parts.append(f"{duration(time.monotonic() - self._started)} elapsed")
        self._console.progress(" · ".join(parts))

    def _precision(self, result: dict[str, Any]) -> None:
        threads = result["threads"]
        self._console.line(
            f"training in {result['precision']} on {result['device']} "
            f"({result['precision_reason']}), {threads} thread{'s' if threads > 1 else ''} a worker"
            f"{', through torch.compile' if result['compiled'] else ''}"
        )

    def _line(self, row: Row, text: str, style: str = "") -> None:
        self._console.line(f"trial {row['trial']:>3}  {text}", style=style)


def _ending(row: Row) -> str:
    reason = row["stop_reason"]
    if row["error"] is not None:
        return f"{reason:<9} {last_line(row['error'])}"
    if row["best_epoch"] is None:
        return f"{reason:<9} before its first epoch was done"
    accuracy = percent(row["best_validation_accuracy"])
    return (
        f"{reason:<14} after {row['epochs']} epochs ({duration(row['train_sec'])}): "
        f"loss {row['best_validation_loss']:.2e}, {accuracy} "
        f"at cosine ≥ {THRESHOLD} in epoch {row['best_epoch']}"
    )
