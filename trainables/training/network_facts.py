"""What a command has to know of a network before it runs; and the process that finds it out.

    python -m trainables.training.network_facts '{"model": "package.module:Class", …}'

`try_out` starts it for a network of a person's own.
"""

import io
import json
import sys
import traceback
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import torch as safetensors

from trainables import own_process
from trainables.data.examples import random_examples
from trainables.errors import UsageError, in_one_line
from trainables.networks.base import Budget, Defaults
from trainables.networks.registry import build, find
from trainables.networks.weights import savable
from trainables.own_process import Say
from trainables.task import Task
from trainables.training.loop import Training, TrainingConfig

IMAGES = 2  # batch normalisation does not take one alone


@dataclass(frozen=True)
class NetworkFacts:
    """What a command has to know of a network before it runs.

    Attributes:
        defaults: The network's own settings.
        problem: Why it can't be trained on the device on which it was tried; empty where it can.
    """

    defaults: Defaults
    problem: str = ""

    @classmethod
    def from_plain(cls, facts: dict[str, Any]) -> "NetworkFacts":
        """Read what `asdict` made of them, or that as JSON has it."""
        settings: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in facts["defaults"].items()
        }
        settings |= {name: Budget(**settings[name]) for name in ("cpu", "gpu")}
        return cls(Defaults(**settings), facts["problem"])


def try_out(model: str, task: Task, precision: str, device: torch.device) -> NetworkFacts:
    """Import a network of which nothing is known, and do with it what a search does.

    Raises:
        UsageError: It can't be imported.
    """
    defaults = find(model).defaults
    try:
        _train_and_keep(model, task, defaults, precision, device)
    except BaseException as error:  # also SystemExit and KeyboardInterrupt: they are the network's
        problem = f"--model {model} can't be trained: {_said(error, model)}"
        return NetworkFacts(defaults, problem)
    return NetworkFacts(defaults)


def _train_and_keep(
    model: str, task: Task, defaults: Defaults, precision: str, device: torch.device
) -> None:
    """Train for an epoch of one batch, and read back what is kept of a trial and of a finalist."""
    config = TrainingConfig(
        model=model,
        task=task,
        learning_rate=defaults.learning_rate[0],
        max_epochs=1,
        seed=0,
        batch_size=IMAGES,
        precision=precision,
    )
    examples = random_examples(IMAGES, task)
    training = Training(config, examples, examples, device=device)
    next(training.epochs())
    checkpoint = io.BytesIO()
    torch.save(training.state_dict(), checkpoint)
    checkpoint.seek(0)
    training.load_state_dict(torch.load(checkpoint, weights_only=True))
    weights = safetensors.save(savable(training.network.state_dict()))
    build(model, task).load_state_dict(safetensors.load(weights))


def _said(error: BaseException, model: str) -> str:
    """Return what an error says, and at which line of the network's module."""
    if isinstance(error, UsageError):
        return str(error)
    file = getattr(sys.modules[model.partition(":")[0]], "__file__", None)
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == file]
    place = f" ({Path(str(file)).name}, line {lines[-1]})" if lines else ""
    return f"{in_one_line(error)}{place}"


def work(arguments: dict[str, Any], _: Say) -> dict[str, Any]:
    """Find what there is to know of a network. Raises UsageError where it can't be imported.

    Args:
        arguments: `model`; `task` as `Task.to_plain` has it; `precision`; `device`.
    """
    torch.set_num_threads(1)
    task, device = Task.from_plain(arguments["task"]), torch.device(arguments["device"])
    found = asdict(try_out(arguments["model"], task, arguments["precision"], device))
    NetworkFacts.from_plain(json.loads(json.dumps(found)))  # or the command could not read it
    return found


if __name__ == "__main__":
    own_process.serve(work, "model")
