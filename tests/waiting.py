"""Waiting for what other processes do."""

import time
from collections.abc import Callable


def until(
    true: Callable[[], object], otherwise: str = "it did not happen", timeout: float = 600
) -> None:
    """Wait until it is true. Raises TimeoutError with the sentence when that takes too long."""
    end = time.monotonic() + timeout
    while not true():
        if time.monotonic() > end:
            raise TimeoutError(otherwise)
        time.sleep(0.05)
