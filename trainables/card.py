"""What is known of a pipeline without a search, in lines."""

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from trainables.baselines import Outputs, ceilings, floors
from trainables.data import loading
from trainables.data.examples import Splits
from trainables.data.images import Images
from trainables.linear import AffineMap
from trainables.metrics.cosine import cosine_accuracy, cosine_similarity
from trainables.networks.registry import NETWORKS, find, misfit
from trainables.own_process import OwnProcess, Say
from trainables.pipelines.catalogue import WORDS
from trainables.pipelines.own import own_map
from trainables.tasks import Task, shape_text
from trainables.thresholds import STRICT_THRESHOLD, THRESHOLD, percent

IMAGES = 500  # of each split, at most
NUMBERS = 2**25  # in these images, at most: 222 of 3 × 224 × 224
NAME_WIDTH, LABEL_WIDTH = 52, 10


def lines(
    images: Images, pipeline: str, takes: str | None, process: OwnProcess | None, progress: Say
) -> list[str]:
    """Return the card of a pipeline.

    Args:
        images: What was read; a few hundred are used.
        pipeline, takes, process, progress: As `loading.with_targets` has them.

    Raises:
        UsageError: The pipeline can't be used.
    """
    # Of two that wait for each other on a busy machine, both take many times as long
    torch.set_num_threads(1)
    data = loading.with_targets(
        few(images), pipeline=pipeline, takes=takes, process=process, progress=progress
    )
    progress("comparing what costs nothing")
    affine = own_map(data.task, data.affine)
    parts = [described(data.task, affine), bars(data, affine), fitting(data.task)]
    first, second, third = map(list, parts)
    return [*data.notes, *first, "", *second, "", *third]


def few(images: Images) -> Images:
    """Keep what is enough to know a pipeline by."""
    count = max(2, min(IMAGES, NUMBERS // images.train[0].size))
    validation = None if images.validation is None else images.validation[:count]
    return replace(
        images, train=images.train[: 2 * count], validation=validation, test=images.test[:count]
    )


def described(task: Task, affine: AffineMap | None) -> Iterator[str]:
    """Yield lines on what a pipeline takes and gives."""
    many = ", one or many at a time" if task.batched else ""
    outputs, inputs = shape_text(task.output_shape), shape_text(task.input_shape)
    facts = {
        "pipeline": task.pipeline,
        "takes": f"{WORDS[task.takes]}{many}",
        "makes": f"{outputs} of {inputs}, from {task.low:.3g} to {task.high:.3g}",
        "steps": " → ".join(task.steps) or "one function",
        "affine": affine_words(task, affine),
    }
    yield from (f"{label:<{LABEL_WIDTH}}{text}" for label, text in facts.items())


def affine_words(task: Task, affine: AffineMap | None) -> str:
    """Say how far a pipeline is from affine, and what that means."""
    residual = task.affine_residual
    if residual is None:
        return "not looked at"
    if not task.is_affine:
        return f"no: it differs from an affine map by {residual:.1g} of its range"
    words = f"yes, within {residual:.1g} of its range"
    if affine is None:
        return f"{words}; its matrix was too costly to find"
    if affine.rank is None:
        return f"{words}, as a matrix within {affine.error:.1g}; of no small Kronecker rank"
    exact = ": separable can be exact" if affine.rank == 1 else ""
    return f"{words}, of Kronecker rank {affine.rank} within {affine.error:.1g}{exact}"


def bars(data: Splits, affine: AffineMap | None) -> Iterator[str]:
    """Yield lines on what costs nothing and on what nothing can pass, on the test images."""
    test = data.test
    head = f"{len(test):,} test images, share at cosine similarity"
    yield f"{head:<{NAME_WIDTH}}{f'≥ {THRESHOLD}':>9}{f'≥ {STRICT_THRESHOLD}':>10}{'mean':>9}"
    kinds = {"floor": floors(data, affine), "ceiling": ceilings(data.task, test, affine)}
    for kind, subjects in kinds.items():
        for name, outputs in subjects.items():
            cosines = _cosines(outputs, test.targets)
            shares = [cosine_accuracy(cosines, least) for least in (THRESHOLD, STRICT_THRESHOLD)]
            cells = "".join(f"{percent(share):>10}" for share in shares)
            yield f"{f'{name} ({kind})':<{NAME_WIDTH}}{cells}{float(cosines.mean()):>9.4f}"


def _cosines(outputs: Outputs, targets: Tensor) -> Tensor:
    return cosine_similarity(torch.cat(list(outputs)).float(), targets)


def fitting(task: Task) -> Iterator[str]:
    """Yield a line for each network: how to search it, or why it does not fit."""
    for name in NETWORKS:
        problem = misfit(find(name), task)
        yield f"{name:<{LABEL_WIDTH}}{problem or f'fits: --model {name}'}"
