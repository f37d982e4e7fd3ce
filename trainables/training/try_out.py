"""A network tried out in a process of its own: none of a person's code runs in the command's.

    with TryOut("package.module:Class") as network:
        network.start()
        ...  # whatever else takes its time, such as finding the task
        network.check()
        facts = network.facts(task)[model]

The process imports the network, builds it, and trains it on two images; losses and metrics of a
person's own are called there, too. What is this project's needs no process: its tests hold it to
its contract.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

from trainables import own_code
from trainables.errors import UsageError
from trainables.hyperparameters import Asked
from trainables.networks.registry import AUTO, NETWORKS, check_module
from trainables.own_process import OwnProcess
from trainables.tasks import STUDY, Task

if TYPE_CHECKING:  # it imports PyTorch
    from trainables.training.network_facts import NetworkFacts

STEP = "its import and a training step on two images"


class TryOut:
    """The trial of a network, until the block is left.

    Args:
        model: As `registry.find` takes it, or `auto` for each of this project's.
        losses: Those of a person's own, as `own_code.load` takes them.
        metrics: Likewise.
        precision: As `precision.choose` takes it.
        device: Where it is trained for a step: `cpu` or `cuda`.
        asked: What of its hyperparameters is asked for.
    """

    def __init__(
        self,
        model: str,
        *,
        losses: Sequence[str] = (),
        metrics: Sequence[str] = (),
        precision: str = "auto",
        device: str = "cpu",
        asked: Asked | None = None,
    ) -> None:
        self._model, self._asked = model, asked or Asked()
        own = [] if model in (*NETWORKS, AUTO) else [f"--model {model}"]
        own += [f"--loss {name}" for name in losses] + [f"--metric {name}" for name in metrics]
        self._own = ", ".join(own)
        self._arguments: dict[str, Any] = {
            "model": model,
            "losses": list(losses),
            "metrics": list(metrics),
            "precision": precision,
            "device": device,
            "asked": self._asked.to_plain(),
        }
        self._process: OwnProcess | None = None
        self._knows_task = False
        self._found: dict[str, Any] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self._process is not None:
            self._process.__exit__(*error)

    def start(self, task: Task | None = None) -> None:
        """Start the process, where there is to be one; without a task it imports and waits."""
        if self._own:
            self._started(task)

    def check(self) -> None:
        """Raise UsageError where the process has found a mistake by now. It is not waited for."""
        if self._process is not None and self._found is None and self._process.has_ended:
            self._found = self._process.answer(f"{self._own}: {STEP}")

    def facts(self, task: Task) -> "dict[str, NetworkFacts]":
        """Wait for what was found of each network, by name. Imports PyTorch.

        The process is started where `start` did not.

        Raises UsageError where the network, a loss or a metric can't be imported, ended its
        process, hangs, or is not what it has to be.
        """
        import torch

        from trainables.training.network_facts import NetworkFacts, facts_of

        if not self._own:
            precision, device = self._arguments["precision"], self._arguments["device"]
            return facts_of(self._model, task, precision, torch.device(device), self._asked)
        process = self._started(task)
        self._found = self._found or process.answer(f"{self._own}: {STEP}")
        return {name: NetworkFacts.from_plain(plain) for name, plain in self._found.items()}

    def _started(self, task: Task | None) -> OwnProcess:
        """Start the process where it was not yet, and tell it the task if it does not know it."""
        if self._process is None:
            self._process = OwnProcess("trainables.training.network_facts")
            self._process.ask(self._arguments)
        if task is not None and not self._knows_task:
            self._knows_task = True
            self._process.ask(task.to_plain())
        return self._process


def check(
    model: str, *, losses: Sequence[str] = (), precision: str = "auto", device: str = "cpu"
) -> None:
    """Raise UsageError where a network can't be trained; arguments as TryOut's."""
    check_module(model)
    for loss in losses:
        own_code.check_there("--loss", loss)
    with TryOut(model, losses=losses, precision=precision, device=device) as network:
        if problem := network.facts(STUDY)[model].problem:
            raise UsageError(problem)
