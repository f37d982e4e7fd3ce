"""What a command has to know of a network before it runs; and the process that finds it out.

    python -m trainables.training.network_facts

`try_out` starts it for a network, a loss or a metric of a person's own, and tells it the arguments
of `work`, later the task, on a pipe.
"""

import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
from safetensors import torch as safetensors

from trainables import own_code, own_process
from trainables.best_affine import resize
from trainables.data.examples import random_examples
from trainables.errors import UsageError, first_line
from trainables.hyperparameters import (
    Asked,
    Parameter,
    Parameters,
    chosen_of,
    corners,
    training_values,
)
from trainables.kronecker import Factors
from trainables.linear import AffineMap
from trainables.networks.base import Budget, Habits, Network, habits_of, space_of
from trainables.networks.registry import AUTO, NETWORKS, build, find, misfit, names_of
from trainables.networks.weights import savable
from trainables.own_functions import OwnFunction, check_loss, check_metric
from trainables.own_process import Say
from trainables.tasks import Task
from trainables.training.loop import Training, TrainingConfig

IMAGES = 2  # batch normalisation does not take one alone


@dataclass(frozen=True)
class NetworkFacts:
    """What a command has to know of a network before it runs.

    Attributes:
        space: The network's own hyperparameters, and those that training uses.
        habits: How the network is trained.
        problem: Why it can't be trained on the device on which it was tried; empty where it can.
        higher_is_better: By name, of each metric of a person's own that was tried beside it.
    """

    space: Parameters
    habits: Habits
    problem: str = ""
    higher_is_better: Mapping[str, bool] = field(default_factory=dict)

    @classmethod
    def of(cls, network: Network, problem: str = "") -> "NetworkFacts":
        """Return what a class says of itself."""
        return cls(space_of(network), habits_of(network), problem)

    def to_plain(self) -> dict[str, Any]:
        """Return it as JSON takes it."""
        space = {name: parameter.to_plain() for name, parameter in self.space.items()}
        return {
            "space": space,
            "habits": asdict(self.habits),
            "problem": self.problem,
            "higher_is_better": dict(self.higher_is_better),
        }

    @classmethod
    def from_plain(cls, facts: dict[str, Any]) -> "NetworkFacts":
        """Read what `to_plain` returned, or that as JSON has it."""
        space = {name: Parameter.from_plain(plain) for name, plain in facts["space"].items()}
        habits: dict[str, Any] = dict(facts["habits"])
        habits |= {name: Budget(**habits[name]) for name in ("cpu", "gpu")}
        return cls(space, Habits(**habits), facts["problem"], facts["higher_is_better"])


def try_out(
    model: str, task: Task, precision: str, device: torch.device, asked: Asked
) -> NetworkFacts:
    """Import a network of which nothing is known, and do with it what a search does.

    Args:
        model: As `registry.find` takes it.
        task: What it is to do.
        precision: As `precision.choose` takes it.
        device: Where it is trained.
        asked: What of its hyperparameters the search is asked for. It is trained with both ends
            of each range and with each choice.

    Raises:
        UsageError: It can't be imported, or has no such hyperparameters.
    """
    network = find(model)
    space = asked.of(space_of(network), model)
    varied = [name for name in chosen_of(space) if not space[name].is_fixed]
    suspects = asked.names
    for values in corners(space):
        try:
            _train_and_keep(model, task, values, precision, device)
        except BaseException as error:  # also SystemExit and KeyboardInterrupt: the network's
            where = _with(values, suspects)
            problem = f"--model {model} can't be trained{where}: {own_code.blamed(error, model)}"
            return NetworkFacts.of(network, problem)
        suspects = (*varied,)  # since with other values of them it could be trained
    return NetworkFacts.of(network)


def _with(values: dict[str, Any], names: Iterable[str]) -> str:
    chosen = ", ".join(f"{name} {values[name]}" for name in names)
    return f" with {chosen}" if chosen else ""


def facts_of(
    model: str, task: Task, precision: str, device: torch.device, asked: Asked
) -> dict[str, NetworkFacts]:
    """Return what there is to know of each network that `--model` means, by name.

    With `auto` a network that does not fit the task is among them: its facts say why it does not.
    Arguments and errors are those of `try_out`.
    """
    if model not in (*NETWORKS, AUTO):
        return {model: try_out(model, task, precision, device, asked)}
    names = names_of(model)
    parts = asked.among(space_of(find(name)) for name in names) if model == AUTO else [asked]
    flag = f"--model {AUTO}: " if model == AUTO else "--model "
    return {
        name: build_all(name, task, part, flag) for name, part in zip(names, parts, strict=True)
    }


def build_all(model: str, task: Task, asked: Asked, flag: str) -> NetworkFacts:
    """Build a network of this project without memory for its weights, as `try_out` trains one.

    It is built where its constructor is given what was asked for; its own values suit every task
    that it fits. Building without memory imports torch._dynamo, which takes 2 s.

    Args:
        model: Its name.
        task: What it is to do.
        asked: What of its hyperparameters the search is asked for.
        flag: What stands before its name in sentences.

    Raises UsageError where its constructor refuses what is asked for, or it has no such
    hyperparameters.
    """
    network = find(model)
    space = asked.of(space_of(network), model)
    if problem := misfit(network, task):
        return NetworkFacts.of(network, problem)
    for values in corners(space) if chosen_of(dict.fromkeys(asked.names)) else ():
        try:
            with torch.device("meta"):
                build(model, task, **chosen_of(values))
        except (UsageError, RuntimeError) as error:
            where = _with(values, asked.names)
            raise UsageError(f"{flag}{model}{where}: {first_line(error)}") from error
    return NetworkFacts.of(network)


def _train_and_keep(
    model: str, task: Task, values: dict[str, Any], precision: str, device: torch.device
) -> None:
    """Train for an epoch of one batch, and read back what is kept of a trial and of a finalist."""
    config = TrainingConfig(
        **training_values(values),
        model=model,
        task=task,
        max_epochs=1,
        seed=0,
        batch_size=IMAGES,
        precision=precision,
    )
    examples = random_examples(IMAGES, task)
    term = Factors(*(part.float() for part in resize(task)))
    start = AffineMap(offset=torch.zeros(task.output_shape), terms=(term,))
    training = Training(config, examples, examples, device=device, start=start)
    next(training.epochs())
    checkpoint = io.BytesIO()
    torch.save(training.state_dict(), checkpoint)
    checkpoint.seek(0)
    training.load_state_dict(torch.load(checkpoint, weights_only=True))
    weights = safetensors.save(savable(training.network.state_dict()))
    build(model, task, **config.chosen).load_state_dict(safetensors.load(weights))


def work(arguments: dict[str, Any], _: Say) -> dict[str, Any]:
    """Find what there is to know of networks, and of losses and metrics of a person's own.

    All are imported at once, and tried when the task is heard, as `Task.to_plain` has it.

    Raises UsageError where one of them can't be imported, or a loss or a metric is none.

    Args:
        arguments: `model`; `losses` and `metrics`, each a list; `precision`; `device`; `asked` as
            `Asked.to_plain` has it.
    """
    torch.set_num_threads(1)
    model, losses, metrics = (arguments[name] for name in ("model", "losses", "metrics"))
    if model != AUTO:
        find(model)
    for flag, names in (("--loss", losses), ("--metric", metrics)):
        for name in names:
            OwnFunction.load(flag, name)
    task, device = Task.from_plain(own_process.hear()), torch.device(arguments["device"])
    for loss in losses:
        check_loss(loss, task)
    higher = {own_code.short(name): check_metric(name, task) for name in metrics}
    asked = Asked.from_plain(arguments["asked"])
    facts = facts_of(model, task, arguments["precision"], device, asked)
    found = {name: replace(one, higher_is_better=higher).to_plain() for name, one in facts.items()}
    for plain in json.loads(json.dumps(found)).values():
        NetworkFacts.from_plain(plain)  # or the command could not read it
    return found


if __name__ == "__main__":
    own_process.serve(work, "model")
