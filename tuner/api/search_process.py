"""A command in a process of its own: its lines as they come, its end as an exception.

So a notebook's kernel gets neither the search's threads nor Ray.
"""

import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from analysis.console import PROGRESS_MARK
from trainables.errors import COMPLAINT, INTERRUPTED, MISTAKE, UsageError

LOOK_SEC = 0.2  # between looks whether the process still lives
# By which Rich would take a pipe for a terminal; Jupyter sets one of them
TERMINAL_VARIABLES = ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE")


class SearchError(RuntimeError):
    """A command that failed though nobody made a mistake; its text says why and what to do."""


class Shows(Protocol):
    """What shows the lines of a command."""

    def line(self, text: str) -> None:
        """Show a line below the others."""

    def progress(self, text: str) -> None:
        """Show a line in place of the last one of these."""


def follow(module: str, arguments: Sequence[str], shown: Shows) -> None:
    """Run a command to its end, and show its lines while they come.

    Ctrl-C is passed on to it, and it ends as it would in a terminal.

    Args:
        module: What follows `python -m`.
        arguments: Its arguments.
        shown: Gets its lines, but for sentences about what ended it.

    Raises:
        UsageError: It ended with a person's mistake, which this says.
        SearchError: It failed, or was killed.
        KeyboardInterrupt: It was interrupted.
    """
    environment = {k: v for k, v in os.environ.items() if k not in TERMINAL_VARIABLES}
    # It finds the modules that are found here
    environment |= {"PYTHONPATH": os.pathsep.join(sys.path), "PYTHONIOENCODING": "utf-8"}
    process = subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        env=environment,
        stdin=subprocess.PIPE,  # closed when this process ends, however it does
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        bufsize=0,
        process_group=0,  # a Ctrl-C of the terminal comes once, through this process
    )
    complaints = []
    with process, _passing_on(process):
        for line in _lines(process):
            if line.startswith(PROGRESS_MARK):
                shown.progress(line.removeprefix(PROGRESS_MARK))
            elif line.startswith(COMPLAINT):
                complaints.append(line.removeprefix(COMPLAINT))
            else:
                shown.line(line)
    status = process.returncode
    said = "\n".join(complaints)
    if status == MISTAKE:
        raise UsageError(said)
    if status in (INTERRUPTED, -signal.SIGINT):  # the latter while Python itself starts
        raise KeyboardInterrupt
    if status:
        raise SearchError(said or f"{module} ended {_how(status)}, and said nothing of it")
    for one in complaints:
        shown.line(f"{COMPLAINT}{one}")


def _how(status: int) -> str:
    if status < 0:
        return f"by {signal.Signals(-status).name}"
    return f"with exit status {status}"


@contextmanager
def _passing_on(process: "subprocess.Popen[bytes]") -> Iterator[None]:
    """Pass every Ctrl-C on to a process; end it where the block is left in any other way."""
    is_main = threading.current_thread() is threading.main_thread()
    if is_main:  # others get no signals
        before = signal.signal(signal.SIGINT, lambda *_: process.send_signal(signal.SIGINT))
    try:
        yield
    except BaseException:
        process.terminate()
        raise
    finally:
        if is_main:
            signal.signal(signal.SIGINT, before)


def _lines(process: "subprocess.Popen[bytes]") -> Iterator[str]:
    """Yield what a process prints, line by line, until it has ended."""
    pipe = process.stdout
    if pipe is None:
        return
    text = b""
    while True:
        has_ended = process.poll() is not None
        # Something that it has started may hold the pipe open after its end
        while select.select([pipe], [], [], 0 if has_ended else LOOK_SEC)[0]:
            part = os.read(pipe.fileno(), 65_536)
            if not part:
                time.sleep(0 if has_ended else LOOK_SEC)  # it closed the pipe, and goes on
                break
            *lines, text = (text + part).split(b"\n")
            yield from (line.decode(errors="replace") for line in lines)
        if has_ended:
            if text:
                yield text.decode(errors="replace")
            return
