"""What a person sees of a command: lines, tables, a progress line, and what to type next."""

import shlex
import time
from collections.abc import Iterable
from typing import Any

from rich.cells import cell_len
from rich.console import Console as RichConsole
from rich.live import Live
from rich.table import Table
from rich.text import Text

from trainables.hyperparameters import said_of, short, text

DEFAULT_STORAGE = "results"
PLAIN_WIDTH = 120  # columns of a table that goes into a file
GAP = 2  # columns between those of a table
LIVE_PROGRESS_SEC = 0.2  # between those that `progress_is_due` asks for
PLAIN_PROGRESS_SEC = 30.0  # between progress lines where the output is a file
PROGRESS_MARK = "\r"  # before progress lines, for a program that reads them

_marks_progress = False


def mark_progress() -> None:
    """Let the consoles of this process print progress lines as often as into a terminal.

    PROGRESS_MARK is before each: a program reads them, and shows them in its own way.
    """
    global _marks_progress
    _marks_progress = True


class Console:
    """Lines and, within `with`, a progress line, which stays at the bottom of a terminal."""

    def __init__(self) -> None:
        self._rich = RichConsole(highlight=False, soft_wrap=True)
        if not self._rich.is_terminal:
            self._rich.width = PLAIN_WIDTH
        self._live: Live | None = None
        self._next_progress = 0.0

    def line(self, text: str = "", style: str = "") -> None:
        """Print a line above the progress line."""
        self._rich.print(Text(text), style=style or None)

    def __enter__(self) -> "Console":
        self._next_progress = time.monotonic() + PLAIN_PROGRESS_SEC
        if self._rich.is_terminal:
            # It begins with the first line: before that others may draw progress of their own
            self._live = Live(Text(), console=self._rich, auto_refresh=False, transient=True)
            self._next_progress = 0.0
        elif _marks_progress:
            self._next_progress = 0.0
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Take the progress line away, before the process ends from another thread."""
        if self._live:
            self._live.stop()
            self._live = None

    @property
    def progress_is_due(self) -> bool:
        """Whether to make a progress line now, for callers to which that is work."""
        return time.monotonic() >= self._next_progress

    def progress(self, text: str) -> None:
        """Replace the progress line; into a file, print one now and then."""
        if self._live:
            self._next_progress = time.monotonic() + LIVE_PROGRESS_SEC
            self._live.start()
            self._live.update(Text(text, style="dim", no_wrap=True, overflow="crop"), refresh=True)
        elif _marks_progress and self.progress_is_due:
            self._next_progress = time.monotonic() + LIVE_PROGRESS_SEC
            print(f"{PROGRESS_MARK}{text}", flush=True)
        elif self.progress_is_due:
            self._next_progress = time.monotonic() + PLAIN_PROGRESS_SEC
            self.line(text)

    def table(self, title: str, columns: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
        """Print a table; every column but the first is set to the right.

        Where the terminal is too narrow the first one is broken into lines, and no number is cut.
        """
        lines = [list(columns), *(list(row) for row in rows)]
        widths = [max(map(cell_len, column)) for column in zip(*lines, strict=True)]
        words = [word for line in lines for word in line[0].split()]
        broken = max(map(cell_len, words), default=0) + sum(width + GAP for width in widths[1:])
        table = Table(
            title=title, title_justify="left", box=None, pad_edge=False, padding=(0, GAP, 0, 0)
        )
        # Of a name that has to give way to all numbers Rich would leave nothing
        table.add_column(Text(lines[0][0]), no_wrap=broken + GAP > self._rich.width)
        for name in lines[0][1:]:
            table.add_column(Text(name), justify="right", no_wrap=True)
        for line in lines[1:]:
            table.add_row(*(Text(cell) for cell in line))
        self._rich.print(table)


def hyperparameters(row: dict[str, Any], *, model: bool = False, loss: bool = False) -> str:
    """Return a trial's hyperparameters as they are printed everywhere.

    Args:
        row: A row of trials.
        model: Whether the network is one of them.
        loss: Whether the loss is one of them.
    """
    parts = [row["model"]] if model else []
    parts += [f"{row['loss']} loss"] if loss else []
    parts += [f"{short(name)} {text(name, value)}" for name, value in said_of(row).items()]
    return ", ".join(parts)


def perceptual(config: dict[str, Any]) -> str:
    """Return a run's perceptual loss in words, from the settings that it keeps."""
    layers = ", ".join(str(layer) for layer in config["perceptual_layers"])
    weights = ", ".join(f"{weight:g}" for weight in config["perceptual_weights"])
    size = config["perceptual_size"]
    return (
        f"{config['mse_weight']:g} × MSE, and layers {layers} of VGG16 ({config['vgg_weights']}, "
        f"{size} × {size} pixels) weighted {weights}"
    )


def command_text(module: str, *arguments: str, storage: str = DEFAULT_STORAGE) -> str:
    """Return a line that a shell takes: `python -m analysis.report fc --storage /mnt/results`.

    Args:
        module: What follows `python -m`.
        arguments: Its arguments, quoted where the shell needs that.
        storage: Where runs are kept; named only where that is not the default.
    """
    flag = () if storage == DEFAULT_STORAGE else ("--storage", storage)
    return shlex.join(["python", "-m", module, *arguments, *flag])
