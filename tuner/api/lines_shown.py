"""Where a Python program shows the lines of its search: notebook, terminal or file."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from analysis.console import PLAIN_PROGRESS_SEC
from trainables.terminal import ProgressLine
from tuner.api.search_process import Shows


@contextmanager
def shown_here() -> Iterator[Shows]:
    """Yield what shows lines, until the block is left; the progress line goes away then."""
    if _is_notebook():
        notebook = _Notebook()
        try:
            yield notebook
        finally:
            notebook.progress("")
    else:
        with ProgressLine() as line:
            yield _Terminal(line) if sys.stderr.isatty() else _File()


def _is_notebook() -> bool:
    """Tell whether a kernel of Jupyter runs this program, which IPython says."""
    ipython = sys.modules.get("IPython")
    return ipython is not None and hasattr(ipython.get_ipython(), "kernel")


class _Notebook:
    """Printed lines, below a display that each progress line replaces."""

    def __init__(self) -> None:
        from IPython.display import display  # here, since only notebooks have it

        self._display: Any = display(_plain(""), raw=True, display_id=True)

    def line(self, text: str) -> None:
        print(text, flush=True)

    def progress(self, text: str) -> None:
        self._display.update(_plain(text), raw=True)


def _plain(text: str) -> dict[str, str]:
    return {"text/plain": text}


class _Terminal:
    """Printed lines, above a progress line that is written over."""

    def __init__(self, progress: ProgressLine) -> None:
        self.progress = progress

    def line(self, text: str) -> None:
        self.progress("")
        print(text, flush=True)


class _File:
    """Printed lines, and a progress line now and then."""

    def __init__(self) -> None:
        self._next = time.monotonic() + PLAIN_PROGRESS_SEC

    def line(self, text: str) -> None:
        print(text, flush=True)

    def progress(self, text: str) -> None:
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + PLAIN_PROGRESS_SEC
            self.line(text)
