"""Checkpoints of trials: written with a checksum, and the newest that is still whole."""

import hashlib
import io
import pickle
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from tuner.storage.run_storage import STATE_FILE, Experiment

DIGEST_BYTES = hashlib.sha256().digest_size


def save(directory: Path, state: dict[str, Any]) -> None:
    """Write a state with its SHA-256 behind it, where `torch.load` does not mind it.

    PyTorch itself notices a torn file, but not a flipped bit in a tensor.
    """
    buffer = io.BytesIO()
    torch.save(state, buffer)
    content = buffer.getvalue()
    (directory / STATE_FILE).write_bytes(content + hashlib.sha256(content).digest())


def newest(
    experiment: Experiment, checkpoints: Iterable[str]
) -> tuple[dict[str, Any] | None, str | None]:
    """Return the state in the first of these checkpoints that is as it was written.

    A damaged one is passed over, and so is one that holds more than data: the one before it is at
    most one epoch older.

    Args:
        experiment: Where they lie.
        checkpoints: Their directories, the newest first.

    Returns:
        The state, None when no checkpoint is whole; and the directory of the newest one, where that
        is damaged, else None.
    """
    damaged = None
    for checkpoint in checkpoints:
        try:
            return _state(experiment.read(checkpoint)), damaged
        except (OSError, RuntimeError, EOFError, ValueError, LookupError, pickle.UnpicklingError):
            damaged = damaged or checkpoint
    return None, damaged


def _state(whole: bytes) -> dict[str, Any]:
    """Read a state. Raises ValueError for another checksum, and what `torch.load` raises."""
    content, digest = whole[:-DIGEST_BYTES], whole[-DIGEST_BYTES:]
    if hashlib.sha256(content).digest() != digest:
        raise ValueError("it does not match its SHA-256")
    return dict(torch.load(io.BytesIO(content), map_location="cpu", weights_only=True))
