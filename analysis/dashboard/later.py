"""What takes too long for a page: it is worked out beside, and there when the page asks again."""

import logging
import multiprocessing
import pickle
import signal
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, CancelledError, Future, ProcessPoolExecutor
from functools import partial
from hashlib import sha256
from threading import Lock
from typing import Generic, ParamSpec, TypeVar

P = ParamSpec("P")
Value = TypeVar("Value")
KEPT = 32
CTRL_C_IGNORED = (signal.SIGINT, signal.SIG_IGN)


class Later(Generic[P, Value]):
    """A function whose values come later, one at a time.

    It works in a process of its own: in a thread it would hold up the pages that are drawn.
    """

    def __init__(self, function: Callable[P, Value]) -> None:
        self._function = function
        self._pool: ProcessPoolExecutor | None = None
        self._lock = Lock()
        self._known: OrderedDict[str, Value] = OrderedDict()
        self._pending: set[str] = set()
        self.finished = 0
        """How many values have come: pages that ask again when it changes have them."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Value | None:
        """Return the value; None while it is worked out, which begins now."""
        key = sha256(pickle.dumps((args, kwargs))).hexdigest()
        with self._lock:
            if key in self._known:
                self._known.move_to_end(key)
                return self._known[key]
            if key in self._pending:
                return None
            self._pending.add(key)
            future = self._submitted(partial(self._function, *args, **kwargs))
        future.add_done_callback(partial(self._came, key))
        return None

    def close(self) -> None:
        """End the process, whatever it is doing."""
        if self._pool:
            for process in multiprocessing.active_children():
                process.terminate()
            # Without the wait its thread may meet the end of Python, which prints a traceback
            self._pool.shutdown(wait=True, cancel_futures=True)

    def _submitted(self, work: Callable[[], Value]) -> Future[Value]:
        if self._pool is None:
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(1, context, signal.signal, CTRL_C_IGNORED)
        try:
            return self._pool.submit(work)
        except BrokenExecutor:  # its process was killed: the next one may live
            self._pool = None
            return self._submitted(work)

    def _came(self, key: str, future: Future[Value]) -> None:
        try:
            value = future.result()
        except (BrokenExecutor, CancelledError):
            with self._lock:
                self._pending.discard(key)
            return
        except Exception:
            # It stays pending, so that a page that asks again does not fail again and again
            logging.getLogger(__name__).exception("a value could not be worked out")
            return
        with self._lock:
            self._pending.discard(key)
            self._known[key] = value
            while len(self._known) > KEPT:
                self._known.popitem(last=False)
            self.finished += 1
