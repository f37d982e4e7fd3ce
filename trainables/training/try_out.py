"""A network tried out in a process of its own: none of a person's code runs in the command's.

    with TryOut("package.module:Class") as network:
        network.start(task)
        ...  # whatever else takes its time
        facts = network.facts(task)

The process imports the network, builds it, and trains it on two images. A network of this project
needs no process: its tests hold it to its contract.
"""

from typing import TYPE_CHECKING, Self

from trainables.errors import UsageError
from trainables.hyperparameters import Asked
from trainables.networks.registry import NETWORKS, check_module
from trainables.own_process import OwnProcess
from trainables.tasks import STUDY, Task

if TYPE_CHECKING:  # it imports PyTorch
    from trainables.training.network_facts import NetworkFacts

STEP = "its import and a training step on two images"


class TryOut:
    """The trial of one network, until the block is left.

    Args:
        model: A name in the registry, or package.module:Class.
        precision: As `precision.choose` takes it.
        device: Where it is trained for a step: `cpu` or `cuda`.
        asked: What of its hyperparameters is asked for.
    """

    def __init__(
        self,
        model: str,
        *,
        precision: str = "auto",
        device: str = "cpu",
        asked: Asked | None = None,
    ) -> None:
        self._model, self._asked = model, asked or Asked()
        self._arguments = {"model": model, "precision": precision, "device": device}
        self._process: OwnProcess | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self._process is not None:
            self._process.__exit__(*error)

    def start(self, task: Task) -> None:
        """Start the process, where there is to be one."""
        if self._model not in NETWORKS:
            self._process = self._started(task)

    def _started(self, task: Task) -> OwnProcess:
        about = {"task": task.to_plain(), "asked": self._asked.to_plain()}
        process = OwnProcess("trainables.training.network_facts")
        process.ask({**self._arguments, **about})
        return process

    def facts(self, task: Task) -> "NetworkFacts":
        """Wait for what was found, starting the process where `start` did not. Imports PyTorch.

        Raises UsageError where the network can't be imported, ended its process, hangs, or does not
        have what is asked for.
        """
        from trainables.training.network_facts import NetworkFacts, build_all

        if self._model in NETWORKS:
            return build_all(self._model, task, self._asked)
        self._process = self._process or self._started(task)
        return NetworkFacts.from_plain(self._process.answer(f"--model {self._model}: {STEP}"))


def check(model: str, *, precision: str = "auto", device: str = "cpu") -> None:
    """Raise UsageError where a network can't be trained; arguments as TryOut's."""
    check_module(model)
    with TryOut(model, precision=precision, device=device) as network:
        if problem := network.facts(STUDY).problem:
            raise UsageError(problem)
