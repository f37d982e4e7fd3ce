"""A subject's own process, as seen from the one that conducts the measurement."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

from analysis.timing import worker
from analysis.timing.subjects import Subject


class SubjectError(Exception):
    """A subject could not be built or run; the text says why, in one line."""


class SubjectProcess:
    """Started anew (not forked, so that nothing of the parent's threads is in it); dies with `close`."""

    def __init__(self, subject: Subject, threads: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.subject = subject
        self._pool = ProcessPoolExecutor(1, mp_context=context, initializer=worker.enter, initargs=(threads,))

    def prepare(self, images_file: Path) -> worker.Checked:
        """Build and check the subject."""
        checked: worker.Checked = self._wait_for(worker.prepare, self.subject, images_file)
        return checked

    def call(self, method: str, *arguments: object) -> Any:
        """Call a method of `worker.Timed` there and wait for its answer."""
        return self._wait_for(worker.call, method, *arguments)

    def _wait_for(self, function: Any, *arguments: object) -> Any:
        """Raises SubjectError when the subject raised anything, or its process died."""
        try:
            return self._pool.submit(function, *arguments).result()
        except BrokenProcessPool:
            raise SubjectError("its process died, most likely for want of memory") from None
        except Exception as error:  # a person's own function, a compiler, a library: anything can come
            reason = str(error).strip().partition("\n")[0]
            raise SubjectError(reason if type(error) is ValueError else f"{type(error).__name__}: {reason}") from error

    def close(self) -> None:
        """End the process at once, whatever it is doing."""
        processes = list((self._pool._processes or {}).values())
        self._pool.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            process.kill()
