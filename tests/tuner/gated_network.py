"""A network that trains as far as a file lets it, so that a test meets its search in the middle."""

import os
import time
from pathlib import Path
from typing import Any

import ray
import ray.train
from torch import Tensor, distributed

from trainables.networks.separable import Separable
from trainables.tasks import Task
from tuner.storage.run_storage import trial_directory

GATE = "GATE"
CRAWL = "crawl"


class Gate:
    """The test's side: a directory whose path trials find in the environment variable GATE."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._witnesses = directory / "witnesses"
        self._witnesses.mkdir(exist_ok=True)

    def hold_after(self, epochs: int) -> None:
        """Let no trial train more than so many epochs in one process, until it is opened."""
        self._write("epochs", str(epochs))

    def crawl(self) -> None:
        """Let them train an epoch in a fifth of a second: a search that is ended waits for none."""
        self._write("epochs", CRAWL)

    def open(self) -> None:
        """Let all of them train to their end."""
        (self.directory / "epochs").unlink(missing_ok=True)

    def spoil(self, trial: int) -> None:
        """Let a worker group's trial have a bad validation loss."""
        self._write(trial_directory(trial), "spoil")

    def fail(self, trial: int) -> None:
        """Let a worker group's trial raise."""
        self._write(trial_directory(trial), "fail")

    def witnesses(self) -> set[tuple[str, str, int]]:
        """Where something has trained: Ray's id of the node, which of how many workers, process."""
        found = [path.name.split(" ") for path in self._witnesses.iterdir()]
        return {(node, worker, int(process)) for node, worker, process in found}

    def forget(self) -> None:
        """Open it, and know nothing of what was before."""
        for path in (*self.directory.iterdir(), *self._witnesses.iterdir()):
            if path.is_file():
                path.unlink()

    def _write(self, name: str, text: str) -> None:
        aside = self.directory / "aside"
        aside.write_text(text)
        aside.replace(self.directory / name)


class Gated(Separable):
    """Waits at the gate before each epoch of a trial."""

    def __init__(self, task: Task) -> None:
        super().__init__(task)
        self._worker = _worker()
        self._epochs = 0
        self._is_new_epoch = False

    def train(self, mode: bool = True) -> Any:
        """The training loop calls it before each epoch, and others call it too, elsewhere."""
        self._is_new_epoch = mode
        return super().train(mode)

    def forward(self, images: Tensor) -> Tensor:
        if self.training and self._is_new_epoch and ray.is_initialized():
            self._is_new_epoch = False
            self._epochs += 1
            _leave_witness(self._worker)
            while _holds(self._epochs):
                time.sleep(0.02)
            if _read(_trial()) == "fail":
                raise RuntimeError("this network does not want to be trained")
        outputs = super().forward(images)
        return outputs if self.training or _read(_trial()) != "spoil" else outputs + 1


class Slow(Gated):
    """Takes a second for an epoch of 2,000 images, and no processor for it."""

    def forward(self, images: Tensor) -> Tensor:
        if self.training:
            time.sleep(0.1)
        return super().forward(images)


def _trial() -> str:
    """The directory of a worker group's trial; empty for any other."""
    group = distributed.is_initialized()
    return str(ray.train.get_context().get_experiment_name()) if group else ""


def _holds(epoch: int) -> bool:
    allowed = _read("epochs")
    if allowed == CRAWL:
        time.sleep(0.2)
    return allowed.isdigit() and epoch > int(allowed)


def _read(name: str) -> str:
    directory = os.environ.get(GATE)
    try:
        return Path(directory, name).read_text() if directory and name else ""
    except FileNotFoundError:
        return ""


def _worker() -> str:
    """Which of how many workers this is; asked before the first epoch, while the group is whole."""
    if distributed.is_initialized():
        return f"{distributed.get_rank()}of{distributed.get_world_size()}"
    return "0of1"


def _leave_witness(worker: str) -> None:
    if GATE not in os.environ:
        return
    node = ray.get_runtime_context().get_node_id()
    Path(os.environ[GATE], "witnesses", f"{node} {worker} {os.getpid()}").touch()
