"""Checkpoints of trials: where they lie, and the newest that can still be read."""

import pickle
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

STATE_FILE = "state.pt"
NUMBER = re.compile(r"(\d+)")


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


def newest(checkpoints: Iterable[str | Path]) -> dict[str, Any] | None:
    """The state in the first of `checkpoints` that can be read; None when there is none.

    A torn file is passed over: the one before it is at most one epoch older.
    """
    for checkpoint in checkpoints:
        try:
            state: dict[str, Any] = torch.load(Path(checkpoint) / STATE_FILE, map_location="cpu", weights_only=True)
        except (OSError, RuntimeError, EOFError, ValueError, LookupError, pickle.UnpicklingError):
            continue
        return state
    return None
