"""A trained network as one safetensors file, with its configuration in the header."""

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from trainables.atomic_write import atomic_write
from trainables.errors import LONGEST, UsageError, cut, first_line, in_one_line
from trainables.hyperparameters import Parameter, Value, problem_of
from trainables.networks.base import Network
from trainables.networks.registry import NETWORKS, build
from trainables.tasks import STUDY, Task

HEADER = "transform_tuner"
DIGEST = "sha256"  # of the header and of all tensors, as `_digest` takes it

Tensors = dict[str, Tensor]


@dataclass(frozen=True)
class SavedNetwork:
    """What a weights file says of itself."""

    model: str  # a name in the registry, or package.module:Class
    chosen: Mapping[str, Value]  # arguments of its constructor beside the task
    facts: dict[str, Any]  # where the weights come from: run, trial, epoch, validation loss
    task: Task = STUDY  # files of 0.1.0 don't say it: there was no other

    def __post_init__(self) -> None:
        """Raise ValueError for what no version of ours has written."""
        is_ours = isinstance(self.model, str) and self.model.isprintable()
        is_ours = is_ours and isinstance(self.facts, dict) and isinstance(self.chosen, dict)
        if not is_ours:
            raise ValueError("model, chosen or facts are not what they should be")
        for name, value in self.chosen.items():
            if problem := problem_of(name, Parameter(value)):
                raise ValueError(problem)


def save_network(path: Path, weights: Tensors, saved: SavedNetwork) -> None:
    """Write weights and configuration with a digest of both, whole or not at all."""
    tensors, header = savable(weights), json.dumps(asdict(saved))
    with atomic_write(path) as aside:
        save_file(tensors, aside, {HEADER: header, DIGEST: _digest(header, tensors)})


def savable(weights: Tensors) -> Tensors:
    """Return weights as a safetensors file takes them: on the CPU, none within another's memory."""
    return {
        name: tensor.cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in weights.items()
    }


def read_header(path: str | Path) -> SavedNetwork:
    """Read the configuration in a weights file.

    Raises UsageError where it is not one of ours, or was changed since it was written.
    """
    return _read(path)[0]


def load_network(path: str | Path, network: type[nn.Module] | Network | None = None) -> nn.Module:
    """Load a trained network, in eval mode.

    The file's digest is compared with its content. One of an older version has none: it is loaded,
    and a line is logged, which Python prints unless told otherwise.

    Args:
        path: The weights file.
        network: The class, where it is not one of NETWORKS: a file must not choose what code runs.

    Raises:
        UsageError: The file can't be read, was changed since it was written, or does not fit the
            network.
    """
    saved, tensors = _read(path)
    if network is None and saved.model not in NETWORKS:
        raise UsageError(
            f"{path} holds {saved.model}: pass that class, load_network(path, network=TheClass), "
            f"or give --model {saved.model} to a command"
        )
    try:
        module = build(network or saved.model, saved.task, **saved.chosen)
    except (Exception, SystemExit) as error:  # whatever a class of a person's own does
        raise UsageError(f"{saved.model} can't be built: {in_one_line(error)}") from error
    try:
        module.load_state_dict(tensors)
    except RuntimeError as error:
        why = cut(" ".join(str(error).split()), LONGEST)
        raise UsageError(f"the weights in {path} don't fit {saved.model}: {why}") from error
    return module.eval()


def _read(path: str | Path) -> tuple[SavedNetwork, Tensors]:
    """Read a weights file whole, and compare its digest. Raises UsageError."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, LookupError) as error:
        raise UsageError(
            f"{path} can't be read as a safetensors file: {first_line(error)}"
        ) from error
    header = metadata.get(HEADER)
    if header is None:
        raise UsageError(f"{path} has no {HEADER} header: it was not written by transform-tuner")
    if DIGEST not in metadata:
        logging.getLogger(__name__).warning(
            "%s has no %s of its weights, as an older transform-tuner wrote it: "
            "damage to it would not be noticed",
            path,
            DIGEST,
        )
    elif metadata[DIGEST] != _digest(header, tensors):
        raise UsageError(
            f"{path} is damaged: its {DIGEST} is not that of its content; "
            "copy it again, or take the one of another finalist"
        )
    try:
        said = json.loads(header)
        task = Task.from_plain(said.pop("task")) if "task" in said else STUDY
        if "dropout" in said:  # so did 0.1.0, for networks without it too
            dropout = said.pop("dropout")
            said["chosen"] = {"dropout": dropout} if dropout != 0 else {}
        saved = SavedNetwork(**said, task=task)
    except (TypeError, ValueError, LookupError, AttributeError, RecursionError) as error:
        raise UsageError(
            f"{path} has a header of another version of transform-tuner: {first_line(error)}"
        ) from error
    return saved, tensors


def _digest(header: str, tensors: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of a header and of each tensor's name, type, shape and bytes."""
    digest = hashlib.sha256(header.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
