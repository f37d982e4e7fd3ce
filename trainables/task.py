"""The card of a pipeline: what is known of it without a search.

    python -m trainables.task --pipeline my_transforms.py:preprocess --data photos/ --image-size 64

It says what the pipeline takes and gives, whether it is affine, what costs nothing and what nothing
can pass, and which networks fit. Exit status: 0, 2 for a mistake, 130 after Ctrl-C.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from trainables.baselines import Outputs, ceilings, floors
from trainables.data import loading, sources
from trainables.data.examples import Splits
from trainables.data.images import Images, size_of
from trainables.errors import command, prog
from trainables.linear import AffineMap
from trainables.metrics.cosine import cosine_accuracy, cosine_similarity
from trainables.networks.registry import NETWORKS, find, misfit
from trainables.pipelines import catalogue
from trainables.pipelines.catalogue import PIPELINES, TAKES, WORDS
from trainables.pipelines.own import own_map
from trainables.settings_fields import add_flags, declared, given, setting
from trainables.tasks import STUDY_NAME, Task, shape_text
from trainables.thresholds import STRICT_THRESHOLD, THRESHOLD

IMAGES = 500  # of each split, at most
NAME_WIDTH, LABEL_WIDTH = 52, 10


@dataclass(frozen=True, kw_only=True)
class CardSettings:
    """Every setting of `python -m trainables.task`. Raises UsageError for what makes no sense."""

    pipeline: str = setting(
        STUDY_NAME, f"{', '.join(PIPELINES)}, package.module:object or path/file.py:object"
    )
    takes: str | None = setting(
        None, "what it is called with", default_text="found out", choices=TAKES
    )
    data: str = setting("auto", "images, as for tuner.run")
    image_size: tuple[int, ...] | None = setting(
        None,
        "height and width of images; one number for squares",
        default_text="32",
        least=1,
        metavar="PIXELS",
    )

    def __post_init__(self) -> None:
        for name, one in SETTINGS.items():
            one.check(name, getattr(self, name))
        catalogue.check(self.pipeline, self.takes)


SETTINGS = declared(CardSettings)


@command()
def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with `arguments`; returns the exit status."""
    settings = CardSettings(**given(parser().parse_args(arguments)))
    images = _few(sources.read(settings.data, size_of(settings.image_size)))
    data = loading.with_targets(images, pipeline=settings.pipeline, takes=settings.takes)
    affine = own_map(data.task, data.affine)
    for line in [*described(data.task, affine), "", *bars(data, affine), "", *fitting(data.task)]:
        print(line)
    return 0


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog=prog("trainables.task"),
        description="Say what is known of a pipeline without a search.",
        argument_default=argparse.SUPPRESS,
    )
    add_flags(parser, SETTINGS)
    return parser


def _few(images: Images) -> Images:
    """Keep what is enough to know a pipeline by."""
    validation = None if images.validation is None else images.validation[:IMAGES]
    train, test = images.train[: 2 * IMAGES], images.test[:IMAGES]
    return replace(images, train=train, validation=validation, test=test)


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
            cells = "".join(f"{100 * share:>8.2f} %"[-10:] for share in shares)
            yield f"{f'{name} ({kind})':<{NAME_WIDTH}}{cells}{float(cosines.mean()):>9.4f}"


def _cosines(outputs: Outputs, targets: Tensor) -> Tensor:
    return cosine_similarity(torch.cat(list(outputs)).float(), targets)


def fitting(task: Task) -> Iterator[str]:
    """Yield a line for each network: how to search it, or why it does not fit."""
    for name in NETWORKS:
        problem = misfit(find(name), task)
        yield f"{name:<{LABEL_WIDTH}}{problem or f'fits: --model {name}'}"


if __name__ == "__main__":
    sys.exit(main())
