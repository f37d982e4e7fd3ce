"""The networks by name. A new network is one file, and one line here."""

import importlib
from typing import cast

from torch import nn

from trainables.cnn import CNN
from trainables.fc import FC
from trainables.network import Defaults, Network
from trainables.separable import Separable

NETWORKS: dict[str, Network] = {
    "fc": cast(Network, FC),
    "cnn": cast(Network, CNN),
    "separable": cast(Network, Separable),
}


def find(name: str) -> Network:
    """The class registered as `name`, or the one that `package.module:Class` names.

    Raises ValueError when there is none, or when it declares no `defaults`.
    """
    if name in NETWORKS:
        return NETWORKS[name]
    module_name, colon, class_name = name.partition(":")
    if not colon:
        raise ValueError(
            f"there is no network {name!r}: choose one of {', '.join(NETWORKS)}, "
            f"or name a class of your own as package.module:Class"
        )
    try:
        network = getattr(importlib.import_module(module_name), class_name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"the network {name!r} can't be imported: {error}") from error
    if not (isinstance(network, type) and issubclass(network, nn.Module)):
        raise ValueError(f"{name!r} is not a class of torch.nn.Module")
    if not isinstance(getattr(network, "defaults", None), Defaults):
        raise ValueError(f"{name!r} needs `defaults = trainables.network.Defaults(...)`, as trainables/fc.py has")
    return cast(Network, network)


def build(name: str, *, dropout: float = 0.0) -> nn.Module:
    """A new network with PyTorch's initial weights, drawn from the global random state."""
    network = find(name)
    return network() if network.defaults.dropout is None else network(dropout=dropout)
