"""GPU memory of a trial: measured by a real step on a GPU of each kind, before the first trial."""

import math
import os
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import ray
import torch

from trainables.data.examples import Splits
from trainables.errors import UsageError, last_line
from trainables.hyperparameters import training_values
from trainables.losses.vgg16_weights import Vgg16
from trainables.training.loop import TrainingConfig
from trainables.training.network_facts import NetworkFacts
from trainables.training.step_memory import StepMemory, measure
from tuner.cluster.nodes import Node, WorkerResources, submit
from tuner.cluster.object_store import StoredVgg16
from tuner.planning.per_network import goal_of, training_settings
from tuner.settings import SearchConfig
from tuner.trials.space import Space

SHARES = (0.05, 0.1, 0.2, 0.25, 0.5, 1.0)  # of a GPU, of which one is proposed
STEP_SEC = 180.0  # for a GPU to be free, a process to start, and the step


def check_networks(
    config: SearchConfig,
    networks: Mapping[str, NetworkFacts],
    spaces: Mapping[str, Space],
    resources: WorkerResources,
    nodes: Sequence[Node],
    data: Splits,
    vgg: Vgg16 | None,
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
    lines, too_large = [], {}
    goal, workers = goal_of(config, networks), config.workers_per_trial
    for name, facts in networks.items():
        settings = training_settings(config, name, facts.habits, data.task, goal)
        try:
            needs = check(
                largest(spaces[name], settings, config.losses, workers=workers),
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


def largest(
    space: Space, training: dict[str, Any], losses: Mapping[str, str], workers: int
) -> TrainingConfig:
    """Return the training of the space that takes the most memory, as one of its workers has it.

    Args:
        space: What the search may choose.
        training: Settings of TrainingConfig that are no hyperparameters.
        losses: What `loss_registry.find` takes for each name of a loss.
        workers: Data-parallel workers of a trial, among which a batch is divided.
    """
    batch_size = math.ceil(training["batch_size"] / workers)
    values = {
        name: max(parameter.values) if parameter.is_numeric else parameter.values[0]
        for name, parameter in space.parameters.items()
    }
    values["learning_rate"] = space.parameters["learning_rate"].values[0]
    return TrainingConfig(
        **{**training, "batch_size": batch_size, "max_epochs": 1, "compiled": False},
        **training_values(values),
        seed=0,
        loss=max(losses.values(), key=_appetite),
    )


def _appetite(loss: str) -> int:
    """Rank losses by the memory that they take; one of a person's own is not known."""
    return {"mse": 0, "perceptual": 2}.get(loss, 1)


def check(
    training: TrainingConfig,
    resources: WorkerResources,
    nodes: Sequence[Node],
    *,
    workers: int,
    train_images: int,
    validation_images: int,
    vgg: Vgg16 | None,
    problem: str = "",
) -> list[str]:
    """Return a line to print for each kind of GPU among the nodes that are up; none without GPUs.

    Args:
        training: The trial that takes the most memory, as `largest` gives it.
        resources: What each worker of a trial gets.
        nodes: Those that are up and can train.
        workers: Data-parallel workers of a trial.
        train_images: Images that lie on the GPU for training.
        validation_images: Images that lie there for validation.
        vgg: What the perceptual loss needs.
        problem: Why the network can't be trained on a CPU, which is no matter if a GPU can.

    Raises:
        UsageError: A trial runs out of memory within its share of such a GPU, or the network can't
            be trained here or there.
    """
    if not resources.gpus:
        return []
    counts = {"train_images": train_images, "validation_images": validation_images}
    kinds = {node.gpu_model: node for node in nodes if node.gpus}.values()
    task = (_measure, resources, training, counts, StoredVgg16.of(vgg) if vgg else None)
    gets: dict[str, Any] = {
        "num_cpus": resources.cpus,
        "num_gpus": resources.gpus,
        "max_retries": 0,
    }
    references = [submit(node, *task, **gets) for node in kinds]
    lines = []
    for node, reference in zip(kinds, references, strict=True):
        try:
            found = ray.get(reference, timeout=STEP_SEC)
        except ray.exceptions.RayError as error:
            if problem:
                raise UsageError(problem) from error
            late = isinstance(error, TimeoutError)
            reason = f"no answer within {STEP_SEC:g} s" if late else last_line(error)
            lines.append(
                f"What a trial needs of the memory of {node.name}'s GPU is unknown: {reason}"
            )
        else:
            lines.append(describe(found, resources, node, workers=workers))
    return lines


def _measure(
    resources: WorkerResources,
    training: TrainingConfig,
    counts: dict[str, int],
    vgg: StoredVgg16 | None,
) -> StepMemory:
    torch.set_num_threads(resources.threads)
    # A step that hangs ends itself: Ray's own process dies when a task is cancelled as it begins
    limit = threading.Timer(STEP_SEC, os._exit, (1,))
    limit.start()
    try:
        return measure(
            training,
            **counts,
            fraction=min(resources.gpus, 1.0),
            device=torch.device("cuda:0"),
            vgg=vgg.load() if vgg else None,
        )
    finally:
        limit.cancel()


def describe(found: StepMemory, resources: WorkerResources, node: Node, *, workers: int) -> str:
    """Return what a trial needs, and how many fit on a GPU of that node.

    Raises:
        UsageError: The step ran out of memory within the trial's share of the GPU.
    """
    asked, fraction = f"--gpus-per-trial {resources.gpus:g}", min(resources.gpus, 1.0)
    gpu = f"{node.gpu_model or 'GPU'} of {size(found.gpu_bytes)}"
    if found.fraction > 1:
        raise UsageError(
            f"{asked}: a training step runs out of memory on {node.name}'s {gpu}, even with all "
            f"of it; give a smaller --batch-size or fewer --images"
        )
    # Two workers of one trial can't share a GPU
    best = max(SHARES if workers == 1 else (1.0,), key=lambda share: _slots(found, share))
    reserved = size(found.reserved_bytes)
    if found.fraction > fraction:
        raise UsageError(
            f"{asked}: a training step runs out of memory within that share of {node.name}'s "
            f"{gpu}, and takes {reserved} with all of it; give --gpus-per-trial {best:g}"
        )
    trial = "A trial" if workers == 1 else "Each worker of a trial"
    needs = (
        f"{trial} needs {reserved} of GPU memory and {size(found.context_bytes)} for CUDA itself"
    )
    started = int(1 / fraction + 1e-9)  # by Ray, if there are cores for them
    room = int(found.gpu_bytes // (found.context_bytes + found.reserved_bytes))
    if room < min(started, resources.slots(node)):
        return f"{needs}: only {room} of {started} at {asked} fit on the {gpu}; give {best:g}"
    more = f", {_slots(found, best)} would at {best:g}" if best < fraction else ""
    return f"{needs}: {started} fit on the {gpu} at {asked}{more}"


def _slots(found: StepMemory, fraction: float) -> int:
    """Return how many trials with that share run on a GPU; 0 where they lack memory."""
    slots = int(1 / fraction + 1e-9)
    all_bytes = slots * (found.context_bytes + found.reserved_bytes)
    too_short = found.reserved_bytes > fraction * found.gpu_bytes or all_bytes > found.gpu_bytes
    return 0 if too_short else slots


def size(count: float) -> str:
    """Bytes as they are printed: 512 MiB, 1.3 GiB."""
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"
