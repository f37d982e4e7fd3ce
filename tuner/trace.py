"""Where the seconds of a search go: spans that `--trace FILE` writes as a Chrome trace.

Perfetto and chrome://tracing show the file as lanes over time: what the command does, what it does
beside that, and a lane for each trial that runs at once.
"""

import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from trainables.atomic_write import atomic_write
from trainables.errors import UsageError

COMMAND, BESIDE = "the command", "beside it"


@dataclass(frozen=True)
class Span:
    """Something that took time.

    Attributes:
        lane: Where it is drawn; spans of a lane lie within or after each other.
        began_sec: By the clock of `time.time`.
    """

    name: str
    lane: str
    began_sec: float
    ended_sec: float


_spans: list[Span] | None = None  # where nobody asks for a trace


def add(name: str, lane: str, began_sec: float, ended_sec: float) -> None:
    """Keep a span whose ends are known, once a trace was begun."""
    if _spans is not None:
        _spans.append(Span(name, lane, began_sec, ended_sec))


@contextmanager
def span(name: str) -> Iterator[None]:
    """Keep how long the block takes, even where it fails."""
    lane = COMMAND if threading.current_thread() is threading.main_thread() else BESIDE
    began_sec = time.time()
    try:
        yield
    finally:
        add(name, lane, began_sec, time.time())


def check(path: str) -> None:
    """Raise UsageError where no trace can be written there."""
    file = Path(path)
    directory = file.absolute().parent
    problem = ""
    if file.is_dir():
        problem = "is a directory"
    elif not directory.is_dir():
        problem = "lies in no directory that is there"
    elif not os.access(directory, os.W_OK):
        problem = "lies in a directory that can't be written"
    if problem:
        raise UsageError(f"--trace {path}: that {problem}; give a file, such as trace.json")


def begin() -> None:
    """Keep spans from now on, the first of them what Python took until now."""
    global _spans
    _spans = []
    add("Python and first imports", COMMAND, psutil.Process().create_time(), time.time())


class TrialLanes:
    """Lanes for trials: each that begins takes the first that is free."""

    def __init__(self) -> None:
        self._lanes: dict[int, int] = {}
        self._since_sec: dict[int, float] = {}
        self._asked_sec: float | None = None

    def ask(self) -> None:
        """Ray is asked for processes for trials."""
        self._asked_sec = time.time()

    def begin(self, trial: int) -> None:
        """A trial was given a process, or is given another one."""
        self.close()
        taken = set(self._lanes.values())
        self._lanes.setdefault(trial, next(n for n in range(len(taken) + 1) if n not in taken))
        self._since_sec[trial] = time.time()

    def epoch(self, trial: int, result: dict[str, Any]) -> None:
        """A trial has reported an epoch, or that it fails."""
        if trial not in self._lanes:
            return
        lane, now = f"trials, {self._lanes[trial] + 1}", time.time()
        took_sec = result.get("train_sec", 0.0) + result.get("validation_sec", 0.0)
        began_sec = max(self._since_sec[trial], now - took_sec)
        add(f"trial {trial} waits", lane, self._since_sec[trial], began_sec)
        add(f"trial {trial}, epoch {result['epoch']}", lane, began_sec, now)
        self._since_sec[trial] = now

    def end(self, trial: int, reason: str) -> None:
        """A trial has ended, perhaps in the middle of an epoch: its lane is free."""
        if trial not in self._lanes:
            return
        lane = f"trials, {self._lanes.pop(trial) + 1}"
        add(f"trial {trial} ends: {reason}", lane, self._since_sec[trial], time.time())

    def close(self) -> None:
        """Nobody waits for the first process any more: it is there, or all is over."""
        if self._asked_sec is not None:
            add("waiting for the first trial's process", COMMAND, self._asked_sec, time.time())
            self._asked_sec = None


def write(path: Path) -> None:
    """Write all spans since `begin`, in the format that chrome://tracing takes. Raises OSError."""
    spans = sorted(_spans or (), key=lambda one: one.began_sec)
    lanes = {name: number for number, name in enumerate(dict.fromkeys(s.lane for s in spans))}
    start_sec = spans[0].began_sec
    named = [
        {"ph": "M", "name": "thread_name", "pid": 0, "tid": number, "args": {"name": name}}
        for name, number in lanes.items()
    ]
    drawn = [
        {
            "ph": "X",
            "name": one.name,
            "pid": 0,
            "tid": lanes[one.lane],
            "ts": 1e6 * (one.began_sec - start_sec),
            "dur": 1e6 * (one.ended_sec - one.began_sec),
        }
        for one in spans
    ]
    with atomic_write(path) as aside:
        aside.write_text(json.dumps({"traceEvents": [*named, *drawn]}))
