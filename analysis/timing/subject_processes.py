"""Processes in which subjects are timed: how they start, are asked, and end."""

import multiprocessing
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import spawn
from pathlib import Path
from typing import Any

from analysis.timing import worker
from analysis.timing.subjects import STEADY, Subject
from analysis.timing.worker import SubjectError


class SubjectProcess:
    """A process of its own for one subject.

    On Linux it is a copy of one that has imported PyTorch and nothing more, `steady`, and so there
    in a moment. In the default environment, and elsewhere, it is started anew.
    """

    def __init__(self, subject: Subject, threads: int, directory: Path) -> None:
        self.subject = subject
        steady = subject.environment == STEADY and sys.platform == "linux"
        context = multiprocessing.get_context("forkserver" if steady else "spawn")
        if steady:
            context.set_forkserver_preload(["analysis.timing.steady"])
        self._pool = ProcessPoolExecutor(
            1, mp_context=context, initializer=worker.enter, initargs=(threads, directory)
        )

    def start(self, function: str, images_file: Path) -> Any:
        """Build the subject by that function of `worker`, and return what it returns."""
        return self._wait_for(getattr(worker, function), self.subject, images_file)

    def call(self, method: str, *arguments: object) -> Any:
        """Call a method of `worker.Timed` there and wait for its answer."""
        return self._wait_for(worker.call, method, *arguments)

    def _wait_for(self, function: Any, *arguments: object) -> Any:
        """Raises SubjectError when the subject raises anything, or its process dies."""
        try:
            return self._pool.submit(function, *arguments).result()
        except BrokenProcessPool:
            raise SubjectError("its process died, most likely for want of memory") from None


@contextmanager
def main_left_out() -> Iterator[None]:
    """Let processes that start meanwhile not import the command itself, as Python would have it.

    It takes 0.6 s in each of them, and none needs it.
    """
    prepare = spawn.get_preparation_data

    def without_main(name: str) -> dict[str, Any]:
        data = prepare(name).items()
        return {key: value for key, value in data if not key.startswith("init_main")}

    spawn.get_preparation_data = without_main
    try:
        yield
    finally:
        spawn.get_preparation_data = prepare


def close_all(processes: Iterable[SubjectProcess]) -> None:
    """End processes at once: they hold nothing that is to be kept."""
    pools = [process._pool for process in processes]
    running = [child for pool in pools for child in (pool._processes or {}).values()]
    for child in running:
        child.kill()
    for child in running:
        child.join()
    for pool in pools:
        pool.shutdown(cancel_futures=True)  # and waits: Python would warn of its semaphores
