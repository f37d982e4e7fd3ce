"""What ends a whole search before its trials are done."""

import math
import time
from typing import Any

from ray import tune


class Deadline(tune.Stopper):
    """Ends the search when its time is up."""

    def __init__(self, timeout_sec: float | None, started: float) -> None:
        """Count `timeout_sec` from `started`, by the monotonic clock; None is for ever."""
        self._end = math.inf if timeout_sec is None else started + timeout_sec
        self.passed = False

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        """Tune asks after every event."""
        self.passed = self.passed or time.monotonic() >= self._end
        return self.passed


class StorageGone(tune.Stopper):
    """Ends the search when a trial can't use the storage: all others would fail in turn."""

    def __init__(self) -> None:
        self._problem: tuple[Any, ...] = ()

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Tune asks for every result."""
        self._problem = self._problem or result.get("storage_problem", ())
        return False

    def stop_all(self) -> bool:
        """Tune asks after every event."""
        return bool(self._problem)

    def check(self) -> None:
        """Raise OSError when that has happened."""
        if self._problem:
            raise OSError(*self._problem)
