"""A subject's own process, as seen from the one that conducts the measurement."""

import multiprocessing
import time
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

from analysis.timing import worker
from analysis.timing.subjects import Subject

GRACE_SEC = 5.0


class SubjectProcess:
    """Started anew, not forked, so that nothing of the parent's threads is in it."""

    def __init__(self, subject: Subject, threads: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.subject = subject
        self._pool = ProcessPoolExecutor(
            1, mp_context=context, initializer=worker.enter, initargs=(threads,)
        )

    def prepare(self, images_file: Path) -> worker.SubjectCheck:
        """Build and check the subject."""
        checked: worker.SubjectCheck = self._wait_for(worker.prepare, self.subject, images_file)
        return checked

    def call(self, method: str, *arguments: object) -> Any:
        """Call a method of `worker.Timed` there and wait for its answer."""
        return self._wait_for(worker.call, method, *arguments)

    def _wait_for(self, function: Any, *arguments: object) -> Any:
        """Raises SubjectError when the subject raises anything, or its process dies."""
        try:
            return self._pool.submit(function, *arguments).result()
        except BrokenProcessPool:
            raise worker.SubjectError("its process died, most likely for want of memory") from None


def close_all(processes: Iterable[SubjectProcess]) -> None:
    """End processes together: those that still work after GRACE_SEC, by force."""
    pools = [process._pool for process in processes]
    running = [child for pool in pools for child in (pool._processes or {}).values()]
    for pool in pools:
        pool.shutdown(wait=False, cancel_futures=True)
    end = time.monotonic() + GRACE_SEC
    for child in running:
        child.join(max(0.0, end - time.monotonic()))
        child.kill()
        child.join()
