"""The networks by name. A new network is one file, and one line here."""

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, cast

from trainables import own_code
from trainables.errors import UsageError
from trainables.hyperparameters import Parameter, chosen_of, problem_of, values_of
from trainables.tasks import STUDY, Task

if TYPE_CHECKING:
    from torch import nn

    from trainables.networks.base import Network

# Imported when asked for, so that a command line can be checked before PyTorch's 2 s have passed
NETWORKS = {
    "fc": "trainables.networks.fc:FC",
    "cnn": "trainables.networks.cnn:CNN",
    "separable": "trainables.networks.separable:Separable",
    "kron": "trainables.networks.kron:Kron",
    "can": "trainables.networks.can:Can",
}
AUTO = "auto"
"""What a search is given to try each of them that fits the task."""
LINES = (
    "`from trainables.hyperparameters import Parameter` and in the class "
    '`space = {"learning_rate": Parameter(1e-4, 1e-2, log=True)}`'
)
OLDER_FORM = (
    f"is a network of an older form: instead of `defaults` and `def __init__(self)` write {LINES}, "
    f"with one entry more for each argument that is searched, and `def __init__(self, task)`, "
    f"with those arguments after the task"
)


def names_of(model: str) -> tuple[str, ...]:
    """Return the networks that `--model` of a search means: all of this project, or the one."""
    return tuple(NETWORKS) if model == AUTO else (model,)


def check_name(name: str, *more: str) -> None:
    """Raise UsageError where a name is neither registered nor of the form of one's own code.

    Args:
        name: What was given.
        more: What else may be given there, for the sentence.
    """
    if name not in NETWORKS and not own_code.is_own(name):
        raise UsageError(
            f"there is no network {name!r}: choose one of {', '.join((*NETWORKS, *more))}, "
            f"or name a class of your own as package.module:Class or path/file.py:Class"
        )


def check_module(name: str) -> None:
    """Raise UsageError where a name is none, or its module is not there. Nothing of it runs."""
    check_name(name)
    own_code.check_there("--model", NETWORKS.get(name, name))


def find(name: str) -> "Network":
    """Return the class registered as `name`, or the one of a person's own that it names.

    Raises UsageError where there is none, where its module does not survive its import, or where
    what it declares makes no sense.
    """
    from torch import nn  # here, as said above

    check_name(name)
    try:
        network = own_code.load(NETWORKS.get(name, name))
    except UsageError as mistake:
        cause = mistake.__cause__
        if isinstance(cause, ImportError) and "'Defaults'" in str(cause):
            raise UsageError(f"{name!r} {OLDER_FORM}") from cause
        raise UsageError(f"the network {mistake}") from cause
    if not (isinstance(network, type) and issubclass(network, nn.Module)):
        raise UsageError(f"{name!r} is not a class of torch.nn.Module")
    _check_declared(name, network)
    return cast("Network", network)


def _check_declared(name: str, network: "type[nn.Module]") -> None:
    """Raise UsageError where what a class declares makes no sense."""
    from trainables.networks.base import MAP, Habits, habits_of, may_start_at_map, space_of

    space = getattr(network, "space", None)
    if space is None and hasattr(network, "defaults"):
        raise UsageError(f"{name!r} {OLDER_FORM}")
    if not (isinstance(space, Mapping) and all(isinstance(p, Parameter) for p in space.values())):
        raise UsageError(f"{name!r} declares no hyperparameters: write {LINES}")
    for own, parameter in space.items():
        if problem := problem_of(own, parameter):
            raise UsageError(f"the space of {name!r} makes no sense: {problem}")
    habits = habits_of(network)
    problem = habits.problem if isinstance(habits, Habits) else f"they are {habits!r:.80}"
    if problem:
        raise UsageError(f"the habits of {name!r} make no sense: {problem}")
    if may_start_at_map(space) and not callable(getattr(network, "start_at", None)):
        raise UsageError(
            f"{name!r} may have start={MAP}, and no method `start_at`: write "
            f"`def start_at(self, affine)`, which makes the network that map"
        )
    _check_constructor(name, network, chosen_of(space_of(network)))


def _check_constructor(name: str, network: "type[nn.Module]", chosen: Iterable[str]) -> None:
    signature = inspect.signature(network)
    first = next(iter(signature.parameters.values()), None)
    if first is None or (first.name != "task" and first.kind is not first.VAR_POSITIONAL):
        raise UsageError(f"{name!r} {OLDER_FORM}")
    try:
        signature.bind(None, **dict.fromkeys(chosen))
    except TypeError as error:
        arguments = ", ".join(("self", "task", *chosen))
        raise UsageError(
            f"the constructor of {name!r} does not take what its space names ({error}): "
            f"write `def __init__({arguments})`"
        ) from error


def build(
    model: "str | type[nn.Module] | Network", task: Task = STUDY, **chosen: Any
) -> "nn.Module":
    """Make a network with PyTorch's initial weights, drawn from the global random state.

    Args:
        model: A name as `find` takes it, or the class itself.
        task: What it is to do.
        chosen: Arguments of its constructor by name. What is not among them is as the network's
            space has it: the fixed value, the lower end of a range, the first choice.

    Raises:
        UsageError: There is no network of that name, it can't do the task, or it has no such
            argument.
    """
    from trainables.networks.base import space_of

    network = find(model) if isinstance(model, str) else cast("Network", model)
    if problem := misfit(network, task):
        raise UsageError(problem)
    own = chosen_of(values_of(space_of(network), chosen))
    if unknown := set(chosen) - set(own):
        raise UsageError(
            f"{model} has no hyperparameter {', '.join(sorted(unknown))}; it has {', '.join(own)}"
        )
    return network(task, **own)


def misfit(network: "Network", task: Task) -> str:
    """Say why a network can't do a task: empty where it can, and where it says nothing of it."""
    says: Callable[[Task], str] | None = getattr(network, "misfit", None)
    return says(task) if says else ""
