"""Subjects without processes of their own, so that what conducts them is tested in milliseconds."""

from pathlib import Path
from typing import Any

import torch

from analysis.timing import worker
from analysis.timing.limits import Rates
from analysis.timing.subjects import Subject
from analysis.timing.worker import _in_one_line, built

RATES = Rates(matrix_gflops=100.0, bandwidth_gb_per_sec=10.0)


class InProcess:
    """Stands for a SubjectProcess; `rates`, which take a second, are made up."""

    started: list["InProcess"]
    """All that there were since the test began; `in_process` empties it."""
    closed: list["InProcess"]
    calls: list[tuple[str, str, int]]
    """Every turn and warm-up: the method, the subject's name and the batch size."""

    def __init__(self, subject: Subject, threads: int, directory: Path) -> None:
        self.subject = subject
        self.threads = threads
        self.started.append(self)

    def start(self, function: str, images_file: Path) -> Any:
        with _in_one_line():
            self.timed = built(self.subject, images_file)
            return self.timed.check() if function == "build_and_check" else None

    def call(self, method: str, *arguments: Any) -> Any:
        if method == "rates":
            return RATES
        if method in ("warm_up", "turn"):
            self.calls.append((method, self.subject.name, arguments[0]))
        threads = torch.get_num_threads()
        worker._threads = threads
        try:
            with _in_one_line():
                return getattr(self.timed, method)(*arguments)
        finally:
            torch.set_num_threads(threads)
