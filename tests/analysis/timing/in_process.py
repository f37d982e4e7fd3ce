"""Subjects without processes of their own, so that what conducts them is tested in milliseconds."""

from pathlib import Path
from typing import Any

from analysis.timing.limits import Rates
from analysis.timing.subjects import Subject
from analysis.timing.worker import SubjectCheck, _in_one_line, built

RATES = Rates(matrix_gflops=100.0, bandwidth_gb_per_sec=10.0)


class InProcess:
    """Stands for a SubjectProcess; `rates`, which take a second, are made up."""

    started: list["InProcess"]
    """All that there were since the test began; `in_process` empties it."""
    closed: list["InProcess"]

    def __init__(self, subject: Subject, threads: int) -> None:
        self.subject = subject
        self.threads = threads
        self.started.append(self)

    def prepare(self, images_file: Path) -> SubjectCheck:
        with _in_one_line():
            self.timed = built(self.subject, images_file)
            return self.timed.check()

    def call(self, method: str, *arguments: object) -> Any:
        if method == "rates":
            return RATES
        with _in_one_line():
            return getattr(self.timed, method)(*arguments)
