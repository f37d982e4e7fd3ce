"""The networks by name. A new network is one file, and one line here."""

import importlib
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, cast

from trainables.errors import UsageError, in_one_line
from trainables.task import STUDY, Task

if TYPE_CHECKING:
    from torch import nn

    from trainables.networks.base import Network

# Imported when asked for, so that a command line can be checked before PyTorch's 2 s have passed
NETWORKS = {
    "fc": "trainables.networks.fc:FC",
    "cnn": "trainables.networks.cnn:CNN",
    "separable": "trainables.networks.separable:Separable",
}


def check_name(name: str) -> None:
    """Raise UsageError where `name` is neither registered nor of the form package.module:Class."""
    module, colon, class_name = name.partition(":")
    if name not in NETWORKS and not (module and colon and class_name):
        raise UsageError(
            f"there is no network {name!r}: choose one of {', '.join(NETWORKS)}, "
            f"or name a class of your own as package.module:Class"
        )


def check_module(name: str) -> None:
    """Raise UsageError where a name is none, or its module is not there.

    Only files are looked for: nothing of the module runs, nor of the packages around it.
    """
    check_name(name)
    module = NETWORKS.get(name, name).partition(":")[0]
    parts = module.split(".")
    path = None
    with suppress(KeyError):  # a namespace package within another can't be asked before an import
        for part in range(len(parts) if module not in sys.modules else 0):
            wanted = ".".join(parts[: part + 1])
            finders = sys.meta_path if parts[part] else ()
            found = (finder.find_spec(wanted, path) for finder in finders)
            spec = next((one for one in found if one is not None), None)
            path = spec.submodule_search_locations if spec else None
            if spec is None or (path is None and wanted != module):
                raise UsageError(
                    f"--model {name}: there is no module {module!r} in this directory or among "
                    f"what is installed; correct the name, or type the command in the directory "
                    f"that holds {parts[0]!r}"
                )


def find(name: str) -> "Network":
    """Return the class registered as `name`, or the one that `package.module:Class` names.

    Raises UsageError where there is none, where its module does not survive its import, or where
    it declares no `defaults`.
    """
    from torch import nn  # here, as said above

    from trainables.networks.base import Defaults

    check_name(name)
    module_name, _, class_name = NETWORKS.get(name, name).partition(":")
    try:
        network = getattr(importlib.import_module(module_name), class_name)
    except (Exception, SystemExit) as error:  # whatever a module does when it is imported
        raise UsageError(f"the network {name!r} can't be imported: {in_one_line(error)}") from error
    if not (isinstance(network, type) and issubclass(network, nn.Module)):
        raise UsageError(f"{name!r} is not a class of torch.nn.Module")
    defaults = getattr(network, "defaults", None)
    if not isinstance(defaults, Defaults):
        raise UsageError(
            f"{name!r} needs `defaults = trainables.networks.base.Defaults(...)`, "
            f"as trainables/networks/fc.py has"
        )
    if problem := defaults.problem:
        raise UsageError(f"the defaults of {name!r} make no sense: {problem}")
    return cast("Network", network)


def build(
    model: "str | type[nn.Module] | Network", task: Task = STUDY, *, dropout: float = 0.0
) -> "nn.Module":
    """Make a network with PyTorch's initial weights, drawn from the global random state.

    Args:
        model: A name as `find` takes it, or the class itself.
        task: What it is to do.
        dropout: What a network without dropout is not given.

    Raises:
        UsageError: There is no network of that name, or it can't do the task.
    """
    network = find(model) if isinstance(model, str) else cast("Network", model)
    if problem := misfit(network, task):
        raise UsageError(problem)
    if network.defaults.dropout is None:
        return network(task)
    return network(task, dropout=dropout)


def misfit(network: "Network", task: Task) -> str:
    """Say why a network can't do a task: empty where it can, and where it says nothing of it."""
    says: Callable[[Task], str] | None = getattr(network, "misfit", None)
    return says(task) if says else ""
