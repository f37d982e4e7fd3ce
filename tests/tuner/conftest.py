"""How these tests run the command: as a person would, in a process of its own, with Ray and all."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import psutil
import pytest

from analysis.tables.files import read
from tests.paths import ROOT
from tests.waiting import until

if TYPE_CHECKING:
    from tests.tuner.bucket_service import Service

TINY = ("--data", "photos", "--images", "2000", "--timing", "none", "--wandb", "disabled")


class Command:
    """`python -m tuner.run` with a storage of its own."""

    def __init__(self, storage: Path) -> None:
        self.storage = storage
        self.started: list[subprocess.Popen[str]] = []

    def start(self, *arguments: str, cwd: Path = ROOT) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "tuner.run", "--storage", str(self.storage), *arguments],
            cwd=cwd,
            env={**os.environ, "PYTHONPATH": f"{ROOT}:{Path(__file__).parent}"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.started.append(process)
        return process

    def run(self, *arguments: str, timeout: float = 250) -> tuple[int, str]:
        process = self.start(*arguments)
        output, _ = process.communicate(timeout=timeout)
        return process.returncode, output

    def table(self, table: str, run: str) -> pd.DataFrame:
        return read(self.storage / "tables", table, run)

    def wait_for_epochs(self, run: str, count: int) -> None:
        """Until the epochs table has so many rows; reads it all the while, as a dashboard would."""
        until(lambda: self._has("epochs", run) and len(self.table("epochs", run)) >= count)

    def _has(self, table: str, run: str) -> bool:
        return (self.storage / "tables" / table / f"run={run}").exists() and any(
            (self.storage / "tables" / table / f"run={run}").glob("[!.]*.parquet")
        )


def trial_processes(driver: subprocess.Popen[str]) -> list[psutil.Process]:
    """The processes in which trials of this search run."""
    return [
        p
        for p in psutil.Process(driver.pid).children(recursive=True)
        if "ImplicitFunc" in " ".join(p.cmdline())
    ]


@pytest.fixture
def command(tmp_path: Path) -> Iterator[Command]:
    command = Command(tmp_path / "results")
    yield command
    for process in command.started:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.communicate()


@pytest.fixture(scope="module")
def service() -> Iterator["Service"]:
    from tests.tuner.bucket_service import Service

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "key")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        service = Service()
        yield service
        service.stop()
