"""What takes too long for a page: it is worked out beside, and there when the page asks again."""

import pickle
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from threading import Lock
from typing import Generic, ParamSpec, TypeVar

P = ParamSpec("P")
Value = TypeVar("Value")
KEPT = 32


class Background(Generic[P, Value]):
    """A function whose values come later, one at a time in a thread of its own."""

    def __init__(self, function: Callable[P, Value]) -> None:
        self._function = function
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="background")
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
            if key not in self._pending:
                self._pending.add(key)
                self._pool.submit(self._work, key, args, kwargs)
        return None

    def _work(self, key: str, args: tuple[object, ...], kwargs: dict[str, object]) -> None:
        try:
            value = self._function(*args, **kwargs)  # type: ignore[arg-type]
        except Exception:
            with self._lock:
                self._pending.discard(key)
            raise
        with self._lock:
            self._pending.discard(key)
            self._known[key] = value
            while len(self._known) > KEPT:
                self._known.popitem(last=False)
            self.finished += 1
