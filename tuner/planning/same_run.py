"""Whether a resumed run is still the one that began: images, pipeline, metric and search spaces."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from analysis.tables.files import Row
from analysis.tables.parameters import read_space, read_spaces
from trainables.errors import UsageError
from trainables.goal import Goal
from trainables.networks.registry import AUTO
from tuner.settings import SearchConfig
from tuner.trials.space import Space

if TYPE_CHECKING:  # it imports PyTorch
    from trainables.data.examples import Splits


def check_same_task(config: SearchConfig, data: "Splits", goal: Goal, earlier: Row) -> None:
    """Raise UsageError where a run would go on with another task than it began with.

    The first of two steps, before GPU memory is measured. The run's images may be others, its
    pipeline may give other outputs, or its metric may call good what was bad.

    Args:
        config: The settings as they were asked for.
        data: The images that are used, with their targets.
        goal: What is best.
        earlier: The runs table's row of the session before.
    """
    _check_same_images(config, data, earlier)
    _check_same_pipeline(config, data, earlier)
    _check_same_direction(config, goal, earlier)


def _check_same_images(config: SearchConfig, data: "Splits", earlier: Row) -> None:
    """Raise UsageError where a run would go on with other images than it began with."""
    flag = "--pairs" if config.pairs else "--data"
    for part in (data.train, data.validation, data.test):
        if part.fingerprint != earlier[f"{part.split}_fingerprint"]:
            raise UsageError(
                f"--resume {config.name}: the {part.split} images in {config.source} are not those "
                f"that the run began with: bring those back, give {flag} where they are now, "
                f"or start a new run without --resume"
            )


def _check_same_pipeline(config: SearchConfig, data: "Splits", earlier: Row) -> None:
    """Raise UsageError where the pipeline's code was changed since the run began."""
    from trainables.pipelines import identity  # here, since it imports PyTorch

    if not identity.is_same(data.probes, earlier["probe_outputs"], data.task.span):
        asked, lost = f"--pipeline {config.pipeline}", "its code"
        if config.pairs:
            asked, lost = f"--pairs {config.pairs}", "its targets"
        raise UsageError(
            f"--resume {config.name}: {asked} gives other outputs than when the run began: "
            f"bring {lost} back, or start a new run without --resume"
        )


def _check_same_direction(config: SearchConfig, goal: Goal, earlier: Row) -> None:
    """Raise UsageError where a metric of a person's own now calls good what was bad."""
    if goal.has_score and goal.higher_is_better != earlier["higher_is_better"]:
        was, now = ("high", "low") if earlier["higher_is_better"] else ("low", "high")
        raise UsageError(
            f"--resume {config.name}: a {was} {goal.rank_by} was good when the run began, and a "
            f"{now} one is now: bring the metric back as it was, or start a new run without "
            f"--resume"
        )


def check_same_spaces(config: SearchConfig, spaces: Mapping[str, Space], earlier: Row) -> None:
    """Raise UsageError where a run would go on with other hyperparameters than it began with.

    The second of two steps: with `--model auto` the networks are known only when GPU memory has
    been measured.

    Args:
        config: The settings.
        spaces: What the trials of each network are drawn from now.
        earlier: The runs table's row of the session before.
    """
    began = read_spaces(earlier["space"])
    if config.model != AUTO:
        began = dict.fromkeys(spaces, read_space(earlier["space"]))
    if list(began) != list(spaces):
        raise UsageError(
            f"--resume {config.name}: --model {config.model} was {', '.join(began)} when the run "
            f"began, and is {', '.join(spaces)} now: go on with the version and the "
            f"machines that began it, or start a new run without --resume"
        )
    for model, space in spaces.items():
        for name in {**began[model], **space.parameters}:
            was, now = began[model].get(name), space.parameters.get(name)
            if was != now:
                raise UsageError(
                    f"--resume {config.name}: {model}'s {name} was "
                    f"{was.in_words if was else 'not there'} when the run began, and is "
                    f"{now.in_words if now else 'not there'} now: bring the network back as it "
                    f"was, or start a new run without --resume"
                )
