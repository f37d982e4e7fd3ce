"""What a command has to know of a network before it runs; and the process that finds it out.

    python -m trainables.training.network_facts package.module:Class TASK auto cpu 120

`try_out` starts it for a network of a person's own. It writes one JSON object.
"""

import io
import json
import math
import os
import signal
import sys
import threading
import traceback
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import torch as safetensors

from trainables.data.examples import random_examples
from trainables.errors import UsageError, in_one_line
from trainables.networks.base import Budget, Defaults
from trainables.networks.registry import build, find
from trainables.networks.weights import savable
from trainables.task import Task
from trainables.training.loop import Training, TrainingConfig

IMAGES = 2  # batch normalisation does not take one alone
FIRST_TO_GO = "1000"  # of all processes, when the machine is short of memory


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


def main(model: str, task: str, precision: str, device: str, limit_sec: str) -> None:
    """Write what there is to know of a network to the standard output, or why it can't be used.

    Args:
        model: Its name.
        task: What it is to do, as JSON.
        precision: As `precision.choose` takes it.
        device: Where it is trained for a step.
        limit_sec: After so many seconds the process ends itself, whatever holds it.
    """
    answer = _set_up()
    signal.alarm(math.ceil(float(limit_sec)))
    try:
        found = asdict(
            try_out(
                model, Task.from_plain(json.loads(task)), precision, torch.device(device)
            )
        )
        text = json.dumps(found)
        NetworkFacts.from_plain(json.loads(text))  # or the command could not read it either
    except UsageError as mistake:
        text = json.dumps({"mistake": str(mistake)})
    except BaseException as error:
        text = json.dumps({"mistake": f"--model {model} can't be used: {in_one_line(error)}"})
    os.write(answer, text.encode())
    os._exit(0)  # threads that the network started don't hold it


def _set_up() -> int:
    """Leave standard streams to the network, and see that this process ends with the command.

    Returns the file that the command reads.
    """
    command, answer = os.dup(0), os.dup(1)
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 0)
    os.dup2(nowhere, 1)
    threading.Thread(target=_end_with, args=(command,), daemon=True).start()
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(FIRST_TO_GO)
    torch.set_num_threads(1)
    return answer


def _end_with(command: int) -> None:
    os.read(command, 1)  # nothing is ever written: it waits for the end of the command
    os.killpg(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main(*sys.argv[1:])
