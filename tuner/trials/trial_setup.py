"""What a trial is given: its own proposal, and what all trials of a search have in common."""

from dataclasses import dataclass
from typing import Any

from tuner.cluster.nodes import WorkerResources
from tuner.cluster.object_store import StoredVgg16
from tuner.storage.experiment import Experiment

OBJECTIVE = "objective"
"""The metric that ASHA and TPE minimise: of a trial's best epoch so far, as the ranking has it. NaN
for a trial that can't be best."""
FAILURE_RETRIES = 5  # starts of a trial whose process died, with no epoch in between

Proposal = dict[str, Any]
"""Number, hyperparameters and seed of a trial, and where it goes on from."""


@dataclass(frozen=True)
class TrialSetup:
    """What every trial of a search has in common.

    Attributes:
        images: Object reference of the training and validation images and their targets.
        training: Settings of TrainingConfig that are not searched.
        workers: Processes that train one trial.
        resources: What each of them gets.
        experiment: Where checkpoints lie.
        session: Name of the session that runs.
        mixed_losses: Whether losses of several kinds are searched, which do not compare.
        vgg: What the perceptual loss needs.
    """

    images: Any
    training: dict[str, Any]
    workers: int
    resources: WorkerResources
    experiment: Experiment
    session: str
    mixed_losses: bool
    vgg: StoredVgg16 | None
