"""What can't work fails here, with one sentence; what can becomes the Plan that all else is given.

`check_early` looks at names and files before Ray starts, the images among them; `load` makes their
targets while it does, and `make_plan` fits the search to the cluster.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence, Sized
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from analysis.tables.files import Row
from analysis.tables.parameters import read_space, read_spaces
from trainables import own_code
from trainables.data import pairs, sources
from trainables.data.images import Images
from trainables.data.pairs import PairSet
from trainables.errors import UsageError, at_once, last_line
from trainables.goal import Goal
from trainables.losses import loss_settings
from trainables.metrics import metric_registry
from trainables.networks.registry import AUTO, NETWORKS, check_module, find
from trainables.own_process import OwnProcess, Say
from trainables.pipelines import catalogue as pipelines
from trainables.settings_fields import as_flags
from trainables.tasks import STUDY, Task, shape_text
from trainables.training.try_out import TryOut
from tuner import trace
from tuner.cluster.nodes import Growth, Node, WorkerResources, on_each
from tuner.settings import (
    DEFAULT_VGG_WEIGHTS,
    GRACE_EPOCHS,
    LOSS,
    PERCEPTUAL,
    SEARCHED,
    SETTINGS,
    UNSTOPPED,
    SearchConfig,
)
from tuner.storage.run_storage import RunStorage, check_shared
from tuner.trials.space import Space
from tuner.trials.starting_points import points_of, starting_points

if TYPE_CHECKING:  # they import PyTorch
    from trainables.data.examples import Splits
    from trainables.losses.vgg16_weights import Vgg16
    from trainables.networks.base import Budget, Habits
    from trainables.training.network_facts import NetworkFacts

    # VGG16, where the loss needs it; the images with their targets; each network by name
    Loaded = tuple[Vgg16 | None, Splits, dict[str, NetworkFacts]]

DEFAULT_GPUS = 0.25  # these networks are small: four trials keep one GPU busier than one does
GROUP_GPUS = 1.0  # NCCL refuses two workers of a trial on one GPU
DASHBOARD_SEC = 20
# What each network of --model auto gets: on 2 CPU cores a search that a person will wait for
EACH_ON_CPU: Mapping[str, Any] = {"samples": 3, "max_epochs": 6, "images": 6_000}
EACH_ON_GPU: Mapping[str, Any] = {"samples": 16, "max_epochs": 30}
OF_A_SEARCH = {"model", "data", "pairs", "start"}  # settings that say which network, which images
WANDB_LOGIN = """
import sys
try:
    import wandb
    wandb.login(verify=False)
except Exception as error:
    sys.exit(" ".join(str(error).split()) or type(error).__name__)
"""


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


def check_early(config: SearchConfig, progress: Say | None = None) -> Images | PairSet:
    """Return the images, or the pairs, which are decoded if they are new.

    Raises UsageError for all that names and files show to be impossible.

    Args:
        config: The settings as they were asked for.
        progress: Gets lines of what is left to decode.
    """
    read: Callable[[], Images | PairSet] = partial(sources.read, config.data, config.size, progress)
    if config.pairs is not None:
        size = config.size if config.image_size else None  # their own
        read = partial(pairs.read, config.pairs, size, progress)
    names: list[Callable[[], object]] = [
        _check_warnings,
        partial(_check_wandb, config),
        partial(_check_waiting, config),
        *(partial(check_module, name) for name in config.models),
        *(partial(own_code.check_there, "--loss", name) for name in config.own_losses),
        *(partial(own_code.check_there, "--metric", name) for name in config.own_metrics),
        partial(pipelines.check, config.pipeline, config.takes),
        partial(_check_vgg, config),
        partial(_check_start, config),
    ]
    # Those have no mistake to find, but perhaps a long download
    if config.data in sources.SOURCES and config.pairs is None:
        at_once(*names)
        return read()
    found: Images | PairSet = at_once(*names, read)[-1]
    return found


def _check_warnings() -> None:
    warnings = os.environ.get("PYTHONWARNINGS", "")
    if "error" in warnings:
        raise UsageError(
            f"PYTHONWARNINGS={warnings}: Ray's own processes import what warns, and would end "
            f"there; unset PYTHONWARNINGS"
        )


def _check_wandb(config: SearchConfig) -> None:
    if config.wandb == "online" and (reason := _wandb_refusal()):
        raise UsageError(
            f"--wandb online: W&B is not logged in ({reason}); type `wandb login` "
            f"first, or --wandb offline"
        )


def _check_waiting(config: SearchConfig) -> None:
    if config.wait_for_nodes and config.address is None:
        raise UsageError(
            f"--wait-for-nodes {config.wait_for_nodes}: without --address there is one node; "
            f"leave --wait-for-nodes out, or give --address"
        )


def _check_vgg(config: SearchConfig) -> None:
    if "perceptual" in config.losses:
        loss_settings.check_weights(config.vgg_weights or DEFAULT_VGG_WEIGHTS)


def _check_start(config: SearchConfig) -> None:
    """Raise UsageError for a point of `--start` that no network has.

    What spaces networks of a person's own have, only their own process finds out, beside Ray's
    start.
    """
    if config.start is None or config.resume is not None or not set(config.models) <= set(NETWORKS):
        return
    # Here, since it imports PyTorch: who gives --start waits that long for Ray, and no mistake does
    from trainables.training.network_facts import NetworkFacts

    networks = {name: NetworkFacts.of(find(name)) for name in config.models}
    points_of(config.start, spaces_of(config, networks))


def _wandb_refusal() -> str:
    """Return why W&B would take nothing; empty where it is logged in.

    It is asked itself, since it looks in several files and variables, and in a process of its own,
    since it leaves threads behind. It asks nobody over the network, and no person, since there is
    no terminal.
    """
    asked = subprocess.run(
        [sys.executable, "-c", WANDB_LOGIN],
        env={**os.environ, "WANDB_MODE": "online", "WANDB_SILENT": "true"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    return last_line(asked.stderr).rstrip(".") if asked.returncode else ""


def load(
    config: SearchConfig,
    images: Images | PairSet,
    pipeline: OwnProcess | None,
    network: TryOut,
    progress: Say,
) -> "Loaded":
    """Read VGG16's weights, where the loss needs them, make targets, and wait for the networks.

    Imports PyTorch. Raises UsageError with all the reasons why they can't be had.

    Args:
        config: The settings as they were asked for.
        images: What `check_early` returned.
        pipeline: As `catalogue.started` returned it.
        network: What tries those of the search out.
        progress: Gets lines of it while targets are made.
    """
    with trace.span("importing PyTorch"):
        from trainables.data import loading

    is_study = config.pipeline == STUDY.pipeline and config.size == sources.SIZE
    known_task = is_study and config.pairs is None
    network.start(STUDY if known_task else None)  # else it waits for what probing shows

    def said(line: str) -> None:
        network.check()  # targets may take minutes
        progress(line)

    make_targets: Callable[[], Splits]
    if isinstance(images, PairSet):
        make_targets = partial(loading.with_recorded, images, config.images)
    else:
        make_targets = partial(
            loading.with_targets,
            images,
            config.images,
            pipeline=config.pipeline,
            takes=config.takes,
            process=pipeline,
            progress=said,
        )
    checks: list[Callable[[], Any]] = [partial(_load_vgg, config), make_targets]
    with trace.span("targets and networks"):
        if known_task:
            vgg, data, facts = at_once(*checks, partial(network.facts, STUDY))
        else:
            vgg, data = at_once(*checks)
            facts = network.facts(data.task)
    return vgg, data, facts


def _load_vgg(config: SearchConfig) -> "Vgg16 | None":
    from trainables.losses import vgg16_weights

    if "perceptual" not in config.losses:
        return None
    return vgg16_weights.load(
        config.vgg_weights or DEFAULT_VGG_WEIGHTS,
        normalisation=config.vgg_normalisation,
        through=max(config.perceptual.layers),
    )


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
    if earlier is not None:
        _check_same_images(config, used, earlier)
        _check_same_pipeline(config, data, earlier)
        _check_same_direction(config, goal, earlier)
    able = resources.able(up)
    if len(up) > 1:
        check_shared(config.storage, able)
    if config.workers_per_trial > 1 and config.address is not None:
        _check_groups(config.workers_per_trial, up)
    memory, too_large = _gpu_memory(complete, networks, spaces, resources, able, used, vgg)
    if too_large:
        networks = {name: facts for name, facts in networks.items() if name not in too_large}
        left_out = {**left_out, **too_large}
        complete = complete_for(networks)  # fewer trials
        spaces = spaces_of(config, networks)
        used = data.cut(complete.images or data.available_images)
    starting_points(complete, spaces)  # raises what is wrong with --start
    if earlier is not None:
        _check_same_spaces(config, spaces, earlier)
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
    least = _least_samples(fitting, config)
    if config.samples is not None and config.samples < least:
        raise UsageError(
            f"--samples {config.samples}: {len(fitting)} networks fit the task "
            f"({', '.join(fitting)}), and each gets a trial; give at least {least}"
        )
    return fitting, left_out


def _gpu_memory(
    config: SearchConfig,
    networks: "Mapping[str, NetworkFacts]",
    spaces: Mapping[str, Space],
    resources: WorkerResources,
    nodes: Sequence[Node],
    data: "Splits",
    vgg: "Vgg16 | None",
) -> tuple[list[str], dict[str, str]]:
    """Return lines of what trials need of a GPU, and what `--model auto` leaves out for it, why.

    Args:
        config: The settings, complete.
        networks: Those that fit the task.
        spaces: What their trials are drawn from.
        resources: What each worker of a trial gets.
        nodes: Those that are up and can train.
        data: The images that are used.
        vgg: What the perceptual loss needs.

    Raises:
        UsageError: A network does not fit a GPU; with `--model auto`, where none does.
    """
    from tuner import gpu_memory  # here, since it imports PyTorch, and Ray starts meanwhile

    lines, too_large = [], {}
    for name, facts in networks.items():
        settings = training_settings(
            config, name, facts.habits, data.task, goal_of(config, networks)
        )
        workers = config.workers_per_trial
        try:
            needs = gpu_memory.check(
                gpu_memory.largest(spaces[name], settings, config.losses, workers=workers),
                resources,
                nodes,
                workers=workers,
                train_images=len(data.train),
                validation_images=len(data.validation),
                vgg=vgg,
                problem=facts.problem,
            )
        except UsageError as error:
            too_large[name] = str(error)
            if len(too_large) == len(networks):
                raise UsageError(next(iter(too_large.values()))) from error
        else:
            lines += [f"{name}: {line}" for line in needs] if len(networks) > 1 else needs
    return lines, too_large


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


def _check_same_spaces(config: SearchConfig, spaces: Mapping[str, Space], earlier: Row) -> None:
    """Raise UsageError where a run would go on with other hyperparameters than it began with."""
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


def _check_same_direction(config: SearchConfig, goal: Goal, earlier: Row) -> None:
    """Raise UsageError where a metric of a person's own now calls good what was bad."""
    if goal.has_score and goal.higher_is_better != earlier["higher_is_better"]:
        was, now = ("high", "low") if earlier["higher_is_better"] else ("low", "high")
        raise UsageError(
            f"--resume {config.name}: a {was} {goal.rank_by} was good when the run began, and a "
            f"{now} one is now: bring the metric back as it was, or start a new run without "
            f"--resume"
        )


def spaces_of(config: SearchConfig, networks: "Mapping[str, NetworkFacts]") -> dict[str, Space]:
    """Return what the trials of each network are drawn from.

    Raises UsageError for what it has not, with `--model auto` for what none has.
    """
    asked = [config.asked]
    if config.model == AUTO:
        asked = config.asked.among(facts.space for facts in networks.values())
    return {
        name: Space.of(facts.space, part, tuple(config.losses), name)
        for (name, facts), part in zip(networks.items(), asked, strict=True)
    }


def goal_of(config: SearchConfig, networks: "Mapping[str, NetworkFacts]") -> Goal:
    """Return what is best."""
    higher: Mapping[str, bool] = next(iter(networks.values())).higher_is_better
    if config.rank_by in metric_registry.METRICS:
        higher = {config.rank_by: metric_registry.find(config.rank_by).higher_is_better}
    return Goal(
        rank_by=config.rank_by,
        higher_is_better=higher.get(config.rank_by, True),
        threshold=config.threshold,
    )


def training_settings(
    config: SearchConfig, model: str, habits: "Habits", task: Task, goal: Goal
) -> dict[str, Any]:
    """Return a network's settings of TrainingConfig that are no hyperparameters."""
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


def worker_resources(config: SearchConfig, nodes: Sequence[Node]) -> WorkerResources:
    """Return what each worker gets: as asked, or part of a GPU where there are any."""
    gpus = config.gpus_per_trial
    if gpus is None:
        usual = DEFAULT_GPUS if config.workers_per_trial == 1 else GROUP_GPUS
        gpus = usual if any(node.gpus for node in nodes) else 0.0
    return WorkerResources(config.cpus_per_trial, gpus, config.memory_gib_per_trial)


def slots_for(config: SearchConfig, resources: WorkerResources, nodes: Sequence[Node]) -> int:
    """Return how many trials these nodes run at once.

    Raises UsageError when it is none, or fewer than asked: Ray itself would wait for ever.
    """
    asks = (
        ("--gpus-per-trial", resources.gpus, max(node.gpus for node in nodes), "GPUs"),
        ("--cpus-per-trial", resources.cpus, max(node.cpus for node in nodes), "CPUs"),
        (
            "--memory-gib-per-trial",
            resources.memory_gib,
            max(node.memory_gib for node in nodes),
            "GiB",
        ),
    )
    for name, asked, most, unit in asks:
        if asked > most == 0:
            raise UsageError(
                f"{name} {asked:g}: there are no {unit} in the cluster; leave {name} out"
            )
        if asked > most:
            raise UsageError(
                f"{name} {asked:g}: no node has more than {most:g} {unit}; "
                f"give at most {name} {most:g}"
            )
    group = config.workers_per_trial
    if group > 1 and 0 < resources.gpus <= 0.5:
        raise UsageError(
            f"--gpus-per-trial {resources.gpus:g}: two workers of a trial would share a GPU, which "
            f"NCCL refuses; give more than 0.5, or leave --workers-per-trial out"
        )
    workers = sum(resources.slots(node) for node in nodes)
    slots = workers // group
    if not workers:
        raise UsageError(
            "no single node has the CPUs, GPUs and memory asked for per trial: ask for less"
        )
    if not slots:
        raise UsageError(
            f"--workers-per-trial {group}: the cluster has room for {workers}; "
            f"give at most --workers-per-trial {workers}"
        )
    if config.concurrency is not None and config.concurrency > slots:
        raise UsageError(
            f"--concurrency {config.concurrency}: {slots} trials fit at once; "
            f"give at most --concurrency {slots}, or less per trial"
        )
    return slots


def _check_groups(workers: int, nodes: Sequence[Node]) -> None:
    """Raise UsageError where Ray could not clear a stopped trial's worker group away.

    It asks its dashboard, from the head, which groups are in use. Without it each group that
    is stopped would hold its cores for ever.
    """
    answers = on_each([node for node in nodes if node.head], _ask_dashboard)
    if any(isinstance(answer, Exception) for answer in answers):
        raise UsageError(
            f"--workers-per-trial {workers}: Ray's dashboard does not answer on the head, and "
            f"without it stopped trials keep their cores; start the head with "
            f"`ray start --head --include-dashboard=true`, and with its own address in no_proxy "
            f"where it has a proxy, or leave --workers-per-trial out"
        )


def _ask_dashboard() -> None:
    from ray.util.state import list_nodes

    list_nodes(limit=1, timeout=DASHBOARD_SEC)


def budget(networks: "Mapping[str, NetworkFacts]", gpus: float) -> "Budget":
    """Return how much a search does unless it is asked for something else.

    Several networks get as many trials each, and the same images and epochs, so that they compare.

    Args:
        networks: Those that are trained.
        gpus: How many are in the cluster.
    """
    from trainables.networks.base import Budget  # here, since it imports PyTorch

    if len(networks) == 1:
        (facts,) = networks.values()
        return facts.habits.gpu if gpus else facts.habits.cpu
    each = EACH_ON_GPU if gpus else EACH_ON_CPU
    return Budget(**{**each, "samples": each["samples"] * len(networks)})


def completed(
    config: SearchConfig,
    networks: "Mapping[str, NetworkFacts]",
    *,
    gpus: float,
    data: str,
    train_images: int,
) -> SearchConfig:
    """Return the settings with the amount of work filled in, and what the loss is made of.

    Args:
        config: The settings as they were asked for.
        networks: Those that are trained.
        gpus: How many are in the cluster.
        data: Where the images were found.
        train_images: How many there are to train on.
    """
    usual = budget(networks, gpus)
    batch_sizes = {facts.habits.batch_size for facts in networks.values()}
    max_epochs = config.max_epochs or max(usual.max_epochs, config.grace_epochs or 1)
    grace_epochs = None if config.scheduler == UNSTOPPED else min(GRACE_EPOCHS, max_epochs)
    loss = {}
    if "perceptual" in config.losses:
        loss = {
            **{ours: getattr(config.perceptual, theirs) for ours, theirs in PERCEPTUAL.items()},
            "vgg_weights": config.vgg_weights or DEFAULT_VGG_WEIGHTS,
        }
    return replace(
        config,
        data=data,
        images=config.images or min(usual.images or train_images, train_images),
        samples=config.samples or usual.samples,
        max_epochs=max_epochs,
        grace_epochs=config.grace_epochs or grace_epochs,
        # Several networks may each have their own
        batch_size=config.batch_size or (batch_sizes.pop() if len(batch_sizes) == 1 else None),
        **loss,
    )


def asked_flags(plan: Plan, model: str) -> list[str]:
    """Return what the search was asked for beside network, images and hyperparameters, as flags.

    What is as it would be without a flag is left out, and fewer trials than `--model auto` takes.

    Args:
        plan: Of the search.
        model: What is to be searched in the same way, as `--model` takes it.
    """
    config = plan.config
    gpus = sum(node.gpus for node in plan.nodes)
    # Other settings follow from these
    first = {name: getattr(config, name) for name in ("loss", "scheduler", "max_epochs")}
    unasked = completed(
        SearchConfig(**first),
        plan.networks,
        gpus=gpus,
        data=config.data,
        train_images=plan.available_images,
    ).flat()
    unasked |= {name: SETTINGS[name].default for name in first}
    unasked["max_epochs"] = budget(plan.networks, gpus).max_epochs
    too_few = model == AUTO and (config.samples or 0) < _least_samples(NETWORKS, config)
    left_out = {*OF_A_SEARCH, "samples"} if too_few else OF_A_SEARCH
    asked = {
        name: value
        for name, value in config.flat().items()
        if SETTINGS[name].group in (SEARCHED, LOSS) and value != unasked[name]
    }
    return as_flags(SETTINGS, {k: value for k, value in asked.items() if k not in left_out})


def _least_samples(networks: Sized, config: SearchConfig) -> int:
    """Return with how many trials each of several networks has one.

    They take turns as `network_of` has it: the last one begins when each before it has had every
    loss.
    """
    return (len(networks) - 1) * len(config.losses) + 1
