"""Checkpoints of trials: written with a checksum, and the newest that is still as it was written."""

import hashlib
import io
import pickle
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tuner.storage.experiment import STATE_FILE, Experiment

ZIP_END, ZIP_END_BYTES = b"PK\x05\x06", 22  # of an archive without a comment, which PyTorch writes
DIGEST_BYTES = hashlib.sha256().digest_size


@dataclass(frozen=True)
class Restored:
    """What is left of a trial's checkpoints."""

    state: dict[str, Any] | None
    """Of the newest that is whole; None when there is none."""
    damaged: str | None
    """The newest directory that was passed over for it, or for none; None when the newest one is whole."""


def save(directory: Path, state: dict[str, Any]) -> None:
    """Write a state with its SHA-256 behind it, where `torch.load` does not mind it.

    PyTorch itself notices a torn file, but not a flipped bit in a tensor.
    """
    buffer = io.BytesIO()
    torch.save(state, buffer)
    content = buffer.getvalue()
    (directory / STATE_FILE).write_bytes(content + hashlib.sha256(content).digest())


def newest(experiment: Experiment, checkpoints: Iterable[str]) -> Restored:
    """The state in the first of an experiment's `checkpoints` that is as it was written.

    A damaged one is passed over, and so is one that holds more than data: the one before it is at most one epoch
    older.
    """
    damaged = None
    for checkpoint in checkpoints:
        try:
            return Restored(_state(experiment.read(checkpoint)), damaged)
        except (OSError, RuntimeError, EOFError, ValueError, LookupError, pickle.UnpicklingError):
            damaged = damaged or checkpoint
    return Restored(None, damaged)


def _state(whole: bytes) -> dict[str, Any]:
    """Raises ValueError when that is not what was written, and what `torch.load` does for what is no state."""
    content, digest = whole[:-DIGEST_BYTES], whole[-DIGEST_BYTES:]
    if whole[-ZIP_END_BYTES:].startswith(ZIP_END):  # as older versions wrote it: without a checksum
        content = whole
    elif hashlib.sha256(content).digest() != digest:
        raise ValueError("it does not match its SHA-256")
    state: dict[str, Any] = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    return state
