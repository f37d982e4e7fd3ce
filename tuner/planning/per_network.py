"""What the settings come to for each network: its search space, its training, and what is best."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from trainables import own_code
from trainables.goal import Goal
from trainables.metrics import metric_registry
from trainables.networks.registry import AUTO
from trainables.tasks import Task
from tuner.settings import SearchConfig
from tuner.trials.space import Space

if TYPE_CHECKING:  # they import PyTorch
    from trainables.networks.base import Habits
    from trainables.training.network_facts import NetworkFacts


def spaces_of(config: SearchConfig, networks: "Mapping[str, NetworkFacts]") -> dict[str, Space]:
    """Return what the trials of each network are drawn from.

    Raises UsageError for a hyperparameter that is asked for and that the network does not have, or
    with `--model auto` none of them.

    Args:
        config: The settings.
        networks: Those that are trained.
    """
    asked = [config.asked]
    if config.model == AUTO:
        asked = config.asked.among(facts.space for facts in networks.values())
    return {
        name: Space.of(facts.space, part, tuple(config.losses), name)
        for (name, facts), part in zip(networks.items(), asked, strict=True)
    }


def training_settings(
    config: SearchConfig, model: str, habits: "Habits", task: Task, goal: Goal
) -> dict[str, Any]:
    """Return a network's settings of TrainingConfig that are no hyperparameters.

    Args:
        config: The settings, complete.
        model: The network's name, or where it is.
        habits: What the network does unless it is asked for something else.
        task: What it learns.
        goal: What is best.
    """
    return {
        "model": own_code.absolute(model),  # trials run in other directories
        "task": task,
        "max_epochs": config.max_epochs,
        "early_stopping": config.early_stopping,
        "batch_size": config.batch_size or habits.batch_size,
        "precision": config.precision,
        "compiled": config.compile == "on",
        "perceptual": config.perceptual,
        "goal": goal,
        "metric": config.ranking_metric,
    }


def goal_of(config: SearchConfig, networks: "Mapping[str, NetworkFacts]") -> Goal:
    """Return what is best, in which direction; a metric of a person's own says it of itself.

    Args:
        config: The settings.
        networks: Those that are trained; each knows the direction of the search's own metrics.
    """
    higher: Mapping[str, bool] = next(iter(networks.values())).higher_is_better
    if config.rank_by in metric_registry.METRICS:
        higher = {config.rank_by: metric_registry.find(config.rank_by).higher_is_better}
    return Goal(
        rank_by=config.rank_by,
        higher_is_better=higher.get(config.rank_by, True),
        threshold=config.threshold,
    )
