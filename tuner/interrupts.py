"""Ctrl-C and SIGTERM, none of which is lost: both end a search in the same way.

A KeyboardInterrupt that Python raises while it imports something, or while logging is held for a
fork, may leave that locked for good, so that the next one waits for ever. It is raised once that is
over, unless there is a second Ctrl-C. One that is raised in a callback is dropped, and Ray Tune
drops one as it ends: it is noted, and asked for later.
"""

import logging
import os
import signal
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from trainables.errors import INTERRUPTED

EARLY_END = "Interrupted before the search began: nothing is lost. Type the command again."
AGAIN_SEC = 0.05  # until it is looked again whether that is over
HOLDING_LOCKS = ("<frozen importlib._bootstrap>", logging.__file__)
HANDLED = (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)
KEPT_FROM_TUNE = "TUNE_DISABLE_SIGINT_HANDLER"  # Tune's own name for it

_asked = threading.Event()
_at_start: dict[signal.Signals, Any] = {}  # handlers that `end_early` took the place of


def end_early() -> None:
    """Until `noted`, end the process at the first Ctrl-C or SIGTERM, and say that nothing is lost.

    For the second in which Python imports a command, where KeyboardInterrupt ends in a traceback
    and SIGTERM without a word. Nothing is there yet that would have to be put away.
    """

    def end(*_: object) -> None:
        try:
            os.write(1, f"{EARLY_END}\n".encode())  # print may be what was interrupted
        finally:
            os._exit(INTERRUPTED)

    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:
            _at_start[number] = signal.signal(number, end)


@contextmanager
def noted() -> Iterator[None]:
    """Note every Ctrl-C until the end, and take SIGTERM for one.

    A command that was started to ignore Ctrl-C, as behind `&` in a script, goes on ignoring it.
    What goes wrong after one, as with half an import, is nobody's concern: KeyboardInterrupt is
    raised in its place.
    """
    _asked.clear()
    before = {number: _at_start.pop(number, signal.getsignal(number)) for number in HANDLED}
    if before[signal.SIGINT] is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, _interrupt)
        signal.signal(signal.SIGALRM, _interrupt)
    signal.signal(signal.SIGTERM, _as_interrupt)
    try:
        yield
    except Exception as error:
        if _asked.is_set():
            raise KeyboardInterrupt from error
        raise
    finally:
        # Or it would go off where nobody handles it, which ends the process
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            signal.signal(number, handler)


def check() -> None:
    """Raise KeyboardInterrupt when somebody has asked for the end."""
    if _asked.is_set():
        raise KeyboardInterrupt


@contextmanager
def left_to_tune() -> Iterator[None]:
    """Note a Ctrl-C while Tune runs, which takes it for itself.

    Tune gives the handler back only where there was none. One that is to be ignored is kept from
    it, as is any where the person has set KEPT_FROM_TUNE.
    """
    ours, asked_for = signal.getsignal(signal.SIGINT), os.environ.get(KEPT_FROM_TUNE)
    of_the_other = signal.getsignal(signal.SIGUSR1)  # Tune takes it, and never gives it back
    if ours is signal.SIG_IGN:
        os.environ[KEPT_FROM_TUNE] = "1"
    is_tunes = os.environ.get(KEPT_FROM_TUNE, "0") == "0"
    try:
        yield
        if is_tunes and signal.getsignal(signal.SIGINT) is ours:
            _asked.set()
    finally:
        signal.signal(signal.SIGINT, ours)
        signal.signal(signal.SIGUSR1, of_the_other)
        if asked_for is None:
            os.environ.pop(KEPT_FROM_TUNE, None)
        else:
            os.environ[KEPT_FROM_TUNE] = asked_for


def _interrupt(number: int, frame: FrameType | None) -> None:
    first = not _asked.is_set() or number == signal.SIGALRM
    _asked.set()
    files = {one.f_code.co_filename for one, _ in traceback.walk_stack(frame)}
    if first and not files.isdisjoint(HOLDING_LOCKS):
        signal.setitimer(signal.ITIMER_REAL, AGAIN_SEC)
        return
    # Whoever cleans up now must not be interrupted once more
    signal.setitimer(signal.ITIMER_REAL, 0)
    raise KeyboardInterrupt


def _as_interrupt(*_: object) -> None:
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        _asked.set()
        if callable(signal.getsignal(signal.SIGUSR1)):
            os.kill(os.getpid(), signal.SIGUSR1)  # which Tune takes for a Ctrl-C
            return
        raise KeyboardInterrupt
    # Ray blocks it in what it starts, its jobs too
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    os.kill(os.getpid(), signal.SIGINT)
