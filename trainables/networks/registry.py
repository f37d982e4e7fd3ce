"""The networks by name. A new network is one file, and one line here."""

import importlib
from typing import TYPE_CHECKING, cast

from trainables.errors import UsageError

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
    """Raises UsageError where `name` is neither registered nor of the form package.module:Class."""
    module, colon, class_name = name.partition(":")
    if name not in NETWORKS and not (module and colon and class_name):
        raise UsageError(
            f"there is no network {name!r}: choose one of {', '.join(NETWORKS)}, "
            f"or name a class of your own as package.module:Class"
        )


def find(name: str) -> "Network":
    """The class registered as `name`, or the one that `package.module:Class` names.

    Raises UsageError when there is none, or when it declares no `defaults`.
    """
    from torch import nn

    from trainables.networks.base import Defaults

    check_name(name)
    module_name, _, class_name = NETWORKS.get(name, name).partition(":")
    try:
        network = getattr(importlib.import_module(module_name), class_name)
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise UsageError(f"the network {name!r} can't be imported: {error}") from error
    if not (isinstance(network, type) and issubclass(network, nn.Module)):
        raise UsageError(f"{name!r} is not a class of torch.nn.Module")
    if not isinstance(getattr(network, "defaults", None), Defaults):
        raise UsageError(
            f"{name!r} needs `defaults = trainables.networks.base.Defaults(...)`, as trainables/networks/fc.py has"
        )
    return cast("Network", network)


def build(name: str, *, dropout: float = 0.0) -> "nn.Module":
    """A new network with PyTorch's initial weights, drawn from the global random state."""
    network = find(name)
    return network() if network.defaults.dropout is None else network(dropout=dropout)
