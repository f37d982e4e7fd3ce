"""Why a trial can't go on, as the search is to hear of it."""

from typing import Any

import ray.train
import torch

from trainables.memory import is_short_of_memory
from tuner.storage.experiment import UNWRITABLE
from tuner.trials.trial_setup import OBJECTIVE


class StorageGoneError(Exception):
    """The storage is full, read-only or not there: no trial can go on. Takes what OSError takes."""


def failure_result(error: BaseException, epoch: int, text: str) -> dict[str, Any]:
    """Return what a trial that raised reports last.

    Args:
        error: What it raised.
        epoch: The last epoch that it reported, 0 before the first.
        text: The error for the tables.
    """
    result = {"epoch": max(1, epoch), "error": text, OBJECTIVE: float("nan")}
    if isinstance(error, StorageGoneError):
        gone = {"stop_reason": "interrupted", "error": None, "storage_problem": error.args}
        return {**result, **gone}
    return {**result, "stop_reason": "out_of_memory" if is_short_of_memory(error) else "error"}


def group_cause(error: Any) -> BaseException | None:
    """Return what the training of a worker group raised; None when the group lost a process.

    Args:
        error: Ray's WorkerGroupError or ControllerError.
    """
    if isinstance(error, ray.train.ControllerError):
        failure = error.controller_failure
        if isinstance(failure, OSError) and failure.errno in UNWRITABLE:
            return StorageGoneError(*failure.args)
        return None
    raised = list(error.worker_failures.values())
    if any(type(one).__module__.startswith("ray.") for one in raised):
        return None
    return next((one for one in raised if not _is_of_another(one)), None)


def _is_of_another(error: BaseException) -> bool:
    """Whether a worker failed only because another one of its group was gone."""
    return isinstance(error, torch.distributed.DistBackendError) or "gloo" in str(error)
