"""Checkpoints of trials: written with a checksum, found again, and the newest that is still as it was written."""

import hashlib
import io
import pickle
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

STATE_FILE = "state.pt"
NUMBER = re.compile(r"(\d+)")
ZIP_END, ZIP_END_BYTES = b"PK\x05\x06", 22  # of an archive without a comment, which PyTorch writes
DIGEST_BYTES = hashlib.sha256().digest_size


@dataclass(frozen=True)
class Restored:
    """What is left of a trial's checkpoints."""

    state: dict[str, Any] | None
    """Of the newest that is whole; None when there is none."""
    damaged: str | None
    """The newest directory that was passed over for it, or for none; None when the newest one is whole."""


def trial_directory(number: int) -> str:
    """The name of a trial's directory within a session."""
    return f"trial-{number:04d}"


def find(experiment: Path, number: int) -> list[Path]:
    """A trial's checkpoint directories over all sessions of its run, newest first."""
    found = experiment.glob(f"session-*/{trial_directory(number)}/checkpoint_*/{STATE_FILE}")
    return sorted((path.parent for path in found), key=_age, reverse=True)


def _age(checkpoint: Path) -> list[tuple[int, ...]]:
    """Session, then the checkpoint's own number or time stamp."""
    session, name = checkpoint.parents[1].name, checkpoint.name
    return [tuple(int(part) for part in NUMBER.findall(text)) for text in (session, name)]


def save(directory: Path, state: dict[str, Any]) -> None:
    """Write a state with its SHA-256 behind it, where `torch.load` does not mind it.

    PyTorch itself notices a torn file, but not a flipped bit in a tensor.
    """
    buffer = io.BytesIO()
    torch.save(state, buffer)
    content = buffer.getvalue()
    (directory / STATE_FILE).write_bytes(content + hashlib.sha256(content).digest())


def newest(checkpoints: Iterable[str | Path]) -> Restored:
    """The state in the first of `checkpoints` that is as it was written.

    A damaged one is passed over, and so is one that holds more than data: the one before it is at most one epoch
    older.
    """
    damaged = None
    for checkpoint in checkpoints:
        try:
            return Restored(_load(Path(checkpoint) / STATE_FILE), damaged)
        except (OSError, RuntimeError, EOFError, ValueError, LookupError, pickle.UnpicklingError):
            damaged = damaged or str(checkpoint)
    return Restored(None, damaged)


def _load(path: Path) -> dict[str, Any]:
    """Raises ValueError when the file is not what was written, and what `torch.load` does for what is no state."""
    whole = path.read_bytes()
    content, digest = whole[:-DIGEST_BYTES], whole[-DIGEST_BYTES:]
    if whole[-ZIP_END_BYTES:].startswith(ZIP_END):  # as older versions wrote it: without a checksum
        content = whole
    elif hashlib.sha256(content).digest() != digest:
        raise ValueError(f"{path} is damaged: it does not match its SHA-256")
    state: dict[str, Any] = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    return state
