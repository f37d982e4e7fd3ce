"""Work beside the main thread that Ctrl-C does not wait for."""

import os
import sys
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, ParamSpec, TypeVar

from trainables.errors import INTERRUPTED

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class Background:
    """One call in a thread, within `with`.

    Neither Python nor PyTorch let go of a thread that works: it can be waited for, or end with the
    process. Images of a large directory take minutes.
    """

    def __init__(self, interrupted: str) -> None:
        """Make it ready.

        Args:
            interrupted: The line to print where Ctrl-C ends the process here.
        """
        self._interrupted = interrupted
        self._pool = ThreadPoolExecutor(1)
        self._future: Future[Any] | None = None

    def start(
        self, work: Callable[Arguments, Result], *args: Arguments.args, **kwargs: Arguments.kwargs
    ) -> Future[Result]:
        """Start the call; return what will have its result."""
        self._future = future = self._pool.submit(work, *args, **kwargs)
        return future

    def __enter__(self) -> "Background":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: object, trace: TracebackType | None
    ) -> None:
        if kind is KeyboardInterrupt and self._future and not self._future.done():
            print(self._interrupted)
            sys.stdout.flush()
            os._exit(INTERRUPTED)
        self._pool.shutdown()
