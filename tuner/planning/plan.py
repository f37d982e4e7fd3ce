"""The Plan: a search that fits its cluster, its images and its networks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from analysis.tables.files import Row
from trainables.errors import UsageError
from trainables.goal import Goal
from trainables.metrics import metric_registry
from trainables.networks.registry import AUTO
from trainables.tasks import Task, shape_text
from tuner.cluster.nodes import Growth, Node, WorkerResources
from tuner.planning.amount import completed, least_samples
from tuner.planning.capacity import check_groups, slots_for, worker_resources
from tuner.planning.per_network import goal_of, spaces_of, training_settings
from tuner.planning.same_run import check_same_spaces, check_same_task
from tuner.settings import SearchConfig
from tuner.storage.run_storage import RunStorage, check_shared
from tuner.trials.space import Space
from tuner.trials.starting_points import starting_points

if TYPE_CHECKING:  # they import PyTorch
    from trainables.data.examples import Splits
    from trainables.losses.vgg16_weights import Vgg16
    from trainables.training.network_facts import NetworkFacts
    from tuner.planning.while_ray_starts import Loaded


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A search that can work.

    Attributes:
        config: The settings, complete.
        storage: Where the run lies.
        data: The images that are used, with their targets.
        networks: What there is to know of each network that is trained, by its name; none of a
            person's own code runs in this process.
        left_out: Why `--model auto` leaves a network out, by its name.
        resources: What each worker of a trial gets.
        slots: How many trials run at once.
        nodes: The machines that are up, and those that the cluster may grow by.
        earlier: The runs table's row of the session before, where this one resumes.
        vgg: What the perceptual loss needs; None without that loss.
        gpu_memory: Lines to print about what a trial needs of it; none without GPUs.
        available_images: Training images that there are; the search may use fewer.
    """

    config: SearchConfig
    storage: RunStorage
    data: "Splits"
    networks: "Mapping[str, NetworkFacts]"
    left_out: Mapping[str, str]
    resources: WorkerResources
    slots: int
    nodes: list[Node]
    earlier: Row | None
    vgg: "Vgg16 | None"
    gpu_memory: list[str]
    available_images: int

    @property
    def spaces(self) -> dict[str, Space]:
        """What the trials of each network are drawn from."""
        return spaces_of(self.config, self.networks)

    @property
    def mixed_networks(self) -> bool:
        """Whether trials train several networks."""
        return len(self.networks) > 1

    @property
    def goal(self) -> Goal:
        """What is best."""
        return goal_of(self.config, self.networks)

    @property
    def training(self) -> dict[str, dict[str, Any]]:
        """Settings of TrainingConfig that are no hyperparameters, by network."""
        return {
            name: training_settings(self.config, name, facts.habits, self.data.task, self.goal)
            for name, facts in self.networks.items()
        }


def make_plan(
    config: SearchConfig,
    storage: RunStorage,
    loaded: "Loaded",
    up: Sequence[Node],
    growth: Growth,
) -> Plan:
    """Fit the search to the cluster, grown as far as it may, and to the images.

    Raises UsageError where it does not fit.

    Args:
        config: The settings as they were asked for.
        storage: Where the run lies.
        loaded: What `load` returned.
        up: The machines that are up.
        growth: What may still join them.
    """
    vgg, data, tried = loaded
    networks, left_out = _fitting(config, tried)
    resources = worker_resources(config, [*up, *growth.nodes])
    nodes = [*up, *growth.beside(up, resources)]
    slots = slots_for(config, resources, nodes)
    problem = next((facts.problem for facts in networks.values()), "")
    if problem and not resources.gpus:
        raise UsageError(problem)
    _check_channels(config, data.task)
    goal = goal_of(config, networks)
    _check_score(config, goal, data.task)
    complete_for = partial(
        completed,
        config,
        gpus=sum(node.gpus for node in nodes),
        data=config.data if config.pairs or config.data != "auto" else data.train.source,
        train_images=data.available_images,
    )
    complete = complete_for(networks)
    spaces = spaces_of(config, networks)
    used = data.cut(complete.images or data.available_images)
    earlier = next(iter(storage.rows("runs")), None)
    # In two steps: this one before GPU memory is measured, which takes long; search spaces after
    # it, since a run has none of a network that is too large
    if earlier is not None:
        check_same_task(config, used, goal, earlier)
    able = resources.able(up)
    if len(up) > 1:
        check_shared(config.storage, able)
    if config.workers_per_trial > 1 and config.address is not None:
        check_groups(config.workers_per_trial, up)
    # Here, since it imports PyTorch, and Ray starts meanwhile
    from tuner.planning import gpu_memory

    memory, too_large = gpu_memory.check_networks(
        complete, networks, spaces, resources, able, used, vgg
    )
    if too_large:
        networks = {name: facts for name, facts in networks.items() if name not in too_large}
        left_out = {**left_out, **too_large}
        complete = complete_for(networks)  # fewer trials
        spaces = spaces_of(config, networks)
        used = data.cut(complete.images or data.available_images)
    starting_points(complete, spaces)  # raises what is wrong with --start
    if earlier is not None:
        check_same_spaces(config, spaces, earlier)
    return Plan(
        config=complete,
        storage=storage,
        data=used,
        networks=networks,
        left_out=left_out,
        resources=resources,
        slots=slots,
        nodes=nodes,
        earlier=earlier,
        vgg=vgg,
        gpu_memory=memory,
        available_images=data.available_images,
    )


def _fitting(
    config: SearchConfig, tried: "Mapping[str, NetworkFacts]"
) -> "tuple[dict[str, NetworkFacts], dict[str, str]]":
    """Return the networks to train, and why `--model auto` leaves the others out.

    Raises UsageError where no network fits. What is wrong with a single one may be mended by a GPU.
    """
    if config.model != AUTO:
        return dict(tried), {}
    fitting = {name: facts for name, facts in tried.items() if not facts.problem}
    # What to give instead is for those who asked for that network
    left_out = {
        name: facts.problem.partition("; ")[0] for name, facts in tried.items() if facts.problem
    }
    if not fitting:
        raise UsageError(f"--model {AUTO}: no network fits: {'; '.join(left_out.values())}")
    least = least_samples(fitting, config)
    if config.samples is not None and config.samples < least:
        raise UsageError(
            f"--samples {config.samples}: {len(fitting)} networks fit the task "
            f"({', '.join(fitting)}), and each gets a trial; give at least {least}"
        )
    return fitting, left_out


def _check_channels(config: SearchConfig, task: Task) -> None:
    """Raise UsageError where the perceptual loss can't compare the task's outputs."""
    if "perceptual" in config.losses and task.output_shape[0] not in (1, 3):
        given = f"--pairs {config.pairs}" if config.pairs else f"--pipeline {config.pipeline}"
        raise UsageError(
            f"--loss {config.loss}: VGG16 takes grey or three colours, and {given} gives "
            f"{task.output_shape[0]} channels; give --loss mse"
        )


def _check_score(config: SearchConfig, goal: Goal, task: Task) -> None:
    """Raise UsageError where the metric to rank by is not defined for what the pipeline makes.

    One of a person's own has been tried out.
    """
    from trainables.data.examples import random_examples  # here, since it imports PyTorch

    if not goal.has_score or config.ranking_metric not in metric_registry.METRICS:
        return
    targets = random_examples(1, task).targets
    metric = metric_registry.find(config.ranking_metric)
    if bool(metric.measure(targets, targets, task).isnan().all()):
        raise UsageError(
            f"--rank-by {goal.rank_by}: it is not defined for outputs of "
            f"{shape_text(task.output_shape)}; choose another, or leave --rank-by out"
        )
