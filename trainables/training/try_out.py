"""A network tried out in a process of its own: none of a person's code runs in the command's.

    with TryOut("package.module:Class") as network:
        ...  # whatever else takes its time
        facts = network.facts()

The process imports the network, builds it, and trains it on two images. It ends with the command,
however that ends, and what the network prints goes nowhere. A network of this project needs no
process: its tests hold it to its contract.
"""

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Self

from trainables.errors import UsageError
from trainables.networks.registry import NETWORKS, check_module, find, misfit
from trainables.task import STUDY, Task

if TYPE_CHECKING:  # it imports PyTorch
    from trainables.training.network_facts import NetworkFacts

LIMIT_SEC = 120.0  # a machine with much load takes half a minute to import PyTorch
STEP = "its import and a training step on two images"


class TryOut:
    """The trial of one network, from its start until the block is left.

    Args:
        model: A name in the registry, or package.module:Class.
        task: What it is to do.
        precision: As `precision.choose` takes it.
        device: Where it is trained for a step: `cpu` or `cuda`.
    """

    def __init__(
        self, model: str, task: Task = STUDY, *, precision: str = "auto", device: str = "cpu"
    ) -> None:
        self._model, self._task = model, task
        if model in NETWORKS:
            return
        self._answer = TemporaryFile()  # noqa: SIM115 - __exit__ closes it
        asked = (model, json.dumps(task.to_plain()), precision, device, str(LIMIT_SEC))
        self._process = subprocess.Popen(
            [sys.executable, "-m", "trainables.training.network_facts", *asked],
            # It finds what is found here
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            stdin=subprocess.PIPE,  # closed when this process ends, however it does
            stdout=self._answer,
            stderr=subprocess.DEVNULL,
            process_group=0,  # Ctrl-C is the command's own business
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._model in NETWORKS:
            return
        if self._process.returncode is None:  # else its number may be another's by now
            self._end()
        with self._process, self._answer:
            pass

    def _end(self) -> None:
        """End the process with all that it has started itself."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def facts(self) -> "NetworkFacts":
        """Wait for what was found. Imports PyTorch.

        Raises UsageError where the network can't be imported, ended its process, or hangs.
        """
        from trainables.training.network_facts import NetworkFacts

        if self._model in NETWORKS:
            network = find(self._model)
            return NetworkFacts(network.defaults, misfit(network, self._task))
        status = -signal.SIGALRM  # as it ends itself, unless C code prevents that
        with suppress(subprocess.TimeoutExpired):
            status = self._process.wait(LIMIT_SEC)
        self._end()
        self._answer.seek(0)
        answer = self._answer.read()
        if not answer:
            raise UsageError(f"--model {self._model}: {STEP} {_fault(status)}")
        found = json.loads(answer)
        if "mistake" in found:
            raise UsageError(found["mistake"])
        return NetworkFacts.from_plain(found)


def check(model: str, *, precision: str = "auto", device: str = "cpu") -> None:
    """Raise UsageError where a network can't be trained; arguments as TryOut's."""
    check_module(model)
    with TryOut(model, precision=precision, device=device) as network:
        if problem := network.facts().problem:
            raise UsageError(problem)


def _fault(status: int) -> str:
    if status == -signal.SIGALRM:
        return f"took more than {LIMIT_SEC:g} s, so it seems to hang"
    if status == -signal.SIGKILL:
        return "ended its process by SIGKILL, most likely for want of memory"
    how = f"by {signal.Signals(-status).name}" if status < 0 else f"with exit status {status}"
    return f"ended its process {how}"
