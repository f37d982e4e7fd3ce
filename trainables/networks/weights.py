"""A trained network as one safetensors file, with its configuration in the header."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from trainables.atomic_write import atomic_write
from trainables.errors import UsageError, in_one_line
from trainables.networks.base import Network
from trainables.networks.registry import NETWORKS, build

HEADER = "transform_tuner"


@dataclass(frozen=True)
class SavedNetwork:
    """What a weights file says of itself."""

    model: str  # a name in the registry, or package.module:Class
    dropout: float
    facts: dict[str, Any]  # where the weights come from: run, trial, epoch, validation loss


def save_network(path: Path, weights: dict[str, Tensor], saved: SavedNetwork) -> None:
    """Write weights and configuration, whole or not at all."""
    with atomic_write(path) as aside:
        save_file(savable(weights), aside, {HEADER: json.dumps(asdict(saved))})


def savable(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return weights as a safetensors file takes them: on the CPU, none within another's memory."""
    return {
        name: tensor.cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in weights.items()
    }


def read_header(path: str | Path) -> SavedNetwork:
    """Read the configuration in a weights file. Raises UsageError where it is not one of ours."""
    try:
        with safe_open(path, framework="pt") as file:
            header = (file.metadata() or {}).get(HEADER)
    except (SafetensorError, OSError) as error:
        raise UsageError(f"{path} can't be read as a safetensors file: {error}") from error
    if header is None:
        raise UsageError(f"{path} has no {HEADER} header: it was not written by transform-tuner")
    try:
        return SavedNetwork(**json.loads(header))
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"{path} has a header of another version of transform-tuner: {error}"
        ) from error


def load_network(path: str | Path, network: type[nn.Module] | Network | None = None) -> nn.Module:
    """Load a trained network, in eval mode.

    Args:
        path: The weights file.
        network: The class, where it is not one of NETWORKS: a file must not choose what code runs.

    Raises:
        UsageError: The file can't be read, or does not fit the network.
    """
    saved = read_header(path)
    if network is None and saved.model not in NETWORKS:
        raise UsageError(
            f"{path} holds {saved.model}: pass that class, load_network(path, network=TheClass)"
        )
    try:
        module = build(network or saved.model, dropout=saved.dropout)
    except (Exception, SystemExit) as error:  # whatever a class of a person's own does
        raise UsageError(f"{saved.model} can't be built: {in_one_line(error)}") from error
    try:
        module.load_state_dict(load_file(path))
    except RuntimeError as error:
        raise UsageError(f"the weights in {path} don't fit {saved.model}: {error}") from error
    return module.eval()
