"""A trained network as one safetensors file, with its configuration in the header."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from trainables.errors import UsageError
from trainables.networks.base import Network
from trainables.networks.registry import NETWORKS, build

HEADER = "transform_tuner"


@dataclass(frozen=True)
class SavedNetwork:
    """What a weights file says of itself."""

    model: str
    dropout: float
    facts: dict[str, Any]
    """Run, trial, epoch, validation loss: where the weights come from."""


def save_network(path: Path, weights: dict[str, Tensor], saved: SavedNetwork) -> None:
    """Write weights and configuration whole or not at all."""
    header = json.dumps({"model": saved.model, "dropout": saved.dropout, "facts": saved.facts})
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        save_file({k: v.contiguous().cpu() for k, v in weights.items()}, aside, {HEADER: header})
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def read_header(path: str | Path) -> SavedNetwork:
    """The configuration in a weights file. Raises UsageError when the file is not one of ours."""
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
    """The trained network, in eval mode, from (N, 3, 32, 32) float32 in [0, 1] to (N, 1, 28, 28).

    A network of your own is passed as `network`, since a file must not choose what code runs.
    Raises UsageError when the file can't be read or does not fit the network.
    """
    saved = read_header(path)
    if network is None and saved.model not in NETWORKS:
        raise UsageError(
            f"{path} holds {saved.model}: pass that class, load_network(path, network=TheClass)"
        )
    module = (
        build(saved.model, dropout=saved.dropout) if network is None else _build(network, saved)
    )
    try:
        module.load_state_dict(load_file(path))
    except RuntimeError as error:
        raise UsageError(f"the weights in {path} don't fit {saved.model}: {error}") from error
    return module.eval()


def _build(network: Any, saved: SavedNetwork) -> nn.Module:
    module: nn.Module = (
        network() if network.defaults.dropout is None else network(dropout=saved.dropout)
    )
    return module
