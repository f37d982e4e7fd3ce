"""How these tests run the command: in a process of its own as a person would, or in this one."""

import io
import logging
import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import psutil
import pytest

from analysis.tables.files import read
from tests.paths import ROOT
from tests.tuner.few_images import write_few_images
from tests.waiting import until
from trainables.networks.registry import AUTO, find
from trainables.own_code import short
from trainables.tasks import Task
from trainables.training.try_out import TryOut

if TYPE_CHECKING:
    from tests.tuner.bucket_service import Service
    from trainables.training.network_facts import NetworkFacts

TINY = ("--data", "photos", "--images", "2000", "--timing", "none", "--wandb", "disabled")
OWN = Path(__file__).parent  # networks that tests give to the command are modules there
IGNORED_BY_PYTHON = (
    DeprecationWarning,
    PendingDeprecationWarning,
    ImportWarning,
    ResourceWarning,
)
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)


class Believed(TryOut):
    """Takes what is a person's own for good: to try it out takes three seconds."""

    def start(self, task: Task | None = None) -> None:
        pass

    def facts(self, task: Task) -> "dict[str, NetworkFacts]":
        from trainables.own_functions import OwnFunction
        from trainables.training.network_facts import NetworkFacts

        metrics = [OwnFunction.load("--metric", name) for name in self._arguments["metrics"]]
        higher = {short(metric.name): metric.higher_is_better for metric in metrics}
        if self._model == AUTO:
            return super().facts(task)
        facts = NetworkFacts.of(find(self._model))
        return {self._model: replace(facts, higher_is_better=higher)}


class Command:
    """`python -m tuner.run` with a storage of its own.

    Attributes:
        tries_out: Whether `call` tries a network of a person's own out.
    """

    def __init__(self, storage: Path | str) -> None:
        self.storage = storage
        self.tries_out = False
        self.started: list[subprocess.Popen[str]] = []

    def start(self, *arguments: str, cwd: Path = ROOT) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "tuner.run", "--storage", str(self.storage), *arguments],
            cwd=cwd,
            env={**os.environ, "PYTHONPATH": f"{ROOT}:{OWN}"},
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

    def call(self, *arguments: str, encoding: str = "utf-8") -> tuple[int, str]:
        """The command's `main` in this process: exit status, and what it printed on both streams.

        They have an encoding, as a terminal has.

        A process of its own takes four seconds to import everything, and as long to start Ray.
        It must leave nothing behind here: no signal's handler, and no connection to a cluster.
        """
        from tuner import run

        before = [signal.getsignal(number) for number in SIGNALS]
        output = io.TextIOWrapper(io.BytesIO(), encoding, write_through=True)
        argv = ("run.py", "--storage", str(self.storage), *arguments)
        with (
            as_a_process(*argv),
            redirect_stdout(output),
            redirect_stderr(output),
            pytest.MonkeyPatch.context() as patch,
        ):
            if not self.tries_out:
                patch.setattr(run, "TryOut", Believed)
            try:
                status = run.main()
            except SystemExit as end:
                status = int(end.code or 0)
        assert [signal.getsignal(number) for number in SIGNALS] == before
        if ray := sys.modules.get("ray"):
            assert not ray.is_initialized()
        return status, output.buffer.getvalue().decode(encoding)  # type: ignore[attr-defined]

    def table(self, table: str, run: str) -> pd.DataFrame:
        return read(Path(self.storage) / "tables", table, run)

    def wait_for_epochs(self, run: str, count: int) -> None:
        """Until the epochs table has so many rows; reads it all the while, as a dashboard would."""
        until(lambda: self._has("epochs", run) and len(self.table("epochs", run)) >= count)

    def _has(self, table: str, run: str) -> bool:
        return (Path(self.storage) / "tables" / table / f"run={run}").exists() and any(
            (Path(self.storage) / "tables" / table / f"run={run}").glob("[!.]*.parquet")
        )


@contextmanager
def as_a_process(*argv: str) -> Iterator[None]:
    """These arguments; environment, warnings, log levels and paths do not outlast it."""
    loggers = {name: logging.getLogger(name) for name in logging.Logger.manager.loggerDict}
    levels = {name: logger.level for name, logger in loggers.items()}
    environment = dict(os.environ)
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        patch.setattr(sys, "argv", [*argv])
        patch.setattr(os, "_exit", sys.exit)
        patch.syspath_prepend(OWN)
        warnings.resetwarnings()
        for category in IGNORED_BY_PYTHON:
            warnings.simplefilter("ignore", category)
        try:
            yield
        finally:
            # No more than has changed: threads that Ray leaves may be reading it
            for name in os.environ.keys() - environment.keys():
                del os.environ[name]
            for name, value in environment.items():
                if os.environ.get(name) != value:
                    os.environ[name] = value
            for name, level in levels.items():
                logging.getLogger(name).setLevel(level)


def trial_processes(driver: subprocess.Popen[str]) -> list[psutil.Process]:
    """The processes in which trials of this search run."""
    return [
        p
        for p in psutil.Process(driver.pid).children(recursive=True)
        if "ImplicitFunc" in " ".join(p.cmdline())
    ]


@pytest.fixture(autouse=True)
def signals_are_not_left_blocked() -> Iterator[None]:
    """Ray blocks Ctrl-C while it starts a process, and leaves it so where that fails."""
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    yield
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)


@pytest.fixture
def command(tmp_path: Path) -> Iterator[Command]:
    command = Command(tmp_path / "results")
    yield command
    for process in command.started:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            process.communicate()


@pytest.fixture(scope="session")
def few_images(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """Flags for a search on a few hundred images, which is not timed and not tracked."""
    directory = write_few_images(tmp_path_factory.mktemp("few") / "images")
    return ("--data", str(directory), "--timing", "none", "--wandb", "disabled")


@pytest.fixture(scope="session")
def both_losses(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """Flags for a search over both losses, with the first layers of a VGG16 that is made up."""
    from safetensors.torch import save_file

    from tests.trainables.made_up import vgg16

    weights = tmp_path_factory.mktemp("vgg") / "made-up.safetensors"
    save_file(vgg16(through=2).tensors, weights, {"normalisation": "imagenet"})
    layers = ("--perceptual-layers", "0", "2", "--perceptual-weights", "1", "0.5")
    size = ("--perceptual-size", "32", "--vgg-weights", str(weights))
    return ("--loss", "mse,perceptual", *layers, *size)


@pytest.fixture(scope="session")
def ray_head() -> Iterator[str]:
    """The address of a cluster of one core, which in-process calls of this test process join."""
    from tests.tuner.nodes import free_port, head

    with head("--num-cpus=1", port=free_port()) as address:
        yield address


@pytest.fixture(scope="session")
def service() -> Iterator["Service"]:
    from tests.tuner.bucket_service import Service

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "key")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        service = Service()
        yield service
        service.stop()
