"""`load`: from what a person typed after `--data` to images with their targets, in three splits."""

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from trainables.data import sources
from trainables.data.examples import (
    Examples,
    Splits,
    as_float,
    kept_validation,
    range_of,
    shape_of,
)
from trainables.data.images import SIZE, Images, Size
from trainables.data.pairs import PairSet
from trainables.own_process import OwnProcess, Say
from trainables.pipelines import identity, own
from trainables.pipelines.catalogue import started
from trainables.tasks import RECORDED, STUDY_NAME, Task

VALIDATION_FRACTION = 0.1
SHUFFLE_SEED = 0  # which images validate is part of the data, not of a search


def load(
    source: str,
    train_images: int | None = None,
    *,
    pipeline: str = STUDY_NAME,
    takes: str | None = None,
    size: Size = SIZE,
    progress: Say | None = None,
) -> Splits:
    """Read the images of a source, as `sources.read` does, and make the pipeline's targets.

    Raises UsageError as that and `with_targets` do.

    Args:
        source: What a person typed after `--data`.
        train_images, pipeline, takes: As `with_targets` has them.
        size: As `sources.read` has it.
        progress: Gets lines of what is left, where it takes longer than a second.
    """
    with started(pipeline) as process:
        images = sources.read(source, size, progress)
        return with_targets(
            images, train_images, pipeline=pipeline, takes=takes, process=process, progress=progress
        )


def with_targets(
    images: Images,
    train_images: int | None = None,
    *,
    pipeline: str = STUDY_NAME,
    takes: str | None = None,
    process: OwnProcess | None = None,
    progress: Say | None = None,
) -> Splits:
    """Make the targets of a source's images: what the pipeline makes of each.

    The study's runs here, all others in processes of their own, and only where their targets are
    not in the cache.

    Args:
        images: What was read.
        train_images: How many are wanted, as `Splits.cut` keeps them; the pipeline runs over no
            others. All of them without it, and where there are fewer.
        pipeline: A name in the registry, or an object of a person's own.
        takes: What a person's own is called with; None to find out.
        process: As `catalogue.started` returned it for the pipeline, where that was begun earlier;
            without it, one is started here where there has to be one.
        progress: Gets lines of it where it takes long.

    Raises:
        UsageError: The pipeline can't be used, as `pipelines.process.work` has it.
    """
    chosen = choose(images, train_images)
    used = chosen.of(vars(images))
    with started(pipeline) if process is None else nullcontext(process) as running:
        if running is None:
            made = own.of_study(used)
        else:
            made = own.in_own_process(running, pipeline, used, takes, progress)
    return Splits(
        *_examples(used, made.targets, images.source),
        notes=_notes(images, made.note),
        available_images=chosen.available,
        task=made.task,
        without=made.without,
        affine=made.affine,
        probes=made.probes,
    )


def with_recorded(pairs: PairSet, train_images: int | None = None) -> Splits:
    """Take recorded targets for those of a pipeline that nobody can call here.

    Args:
        pairs: What was read.
        train_images: As `with_targets` has it.
    """
    chosen = choose(pairs.images, train_images)
    images, targets = chosen.of(vars(pairs.images)), chosen.of(pairs.targets)
    floats = {
        split: as_float(part) if part.dtype == torch.uint8 else part.float()
        for split, part in targets.items()
    }
    low, high = range_of(floats["train"])
    task = Task(
        pipeline=RECORDED,
        input_shape=shape_of(images["train"]),
        output_shape=shape_of(floats["train"]),
        low=low,
        high=high,
        takes="",
        batched=False,
    )
    return Splits(
        *_examples(images, floats, pairs.images.source),
        notes=_notes(pairs.images),
        available_images=chosen.available,
        task=task,
        probes=identity.kept(floats["test"][: identity.PROBES]),  # all that can be asked again
    )


def _notes(images: Images, *others: str) -> tuple[str, ...]:
    of_images = f"{images.source}: {images.note}" if images.note else ""
    return tuple(filter(None, (of_images, *others)))


def _examples(
    images: Mapping[str, Tensor], targets: Mapping[str, Tensor], source: str
) -> tuple[Examples, Examples, Examples]:
    """Return those of training, validation and test."""
    train, validation, test = (
        Examples(images[split], targets[split], source=source, split=split)
        for split in ("train", "validation", "test")
    )
    return train, validation, test


@dataclass(frozen=True)
class Choice:
    """Which images of a source are used.

    Attributes:
        available: Training images that there are.
        places: For train, validation and test: the split of the source that they are taken from,
            and which of its images: numbers, or the first ones as a range.
    """

    available: int
    places: Mapping[str, tuple[str, Tensor | range]]

    def of(self, arrays: Mapping[str, Any]) -> dict[str, Tensor]:
        """Take what is used out of a source's arrays, by split; all else is left where it is."""
        taken = {}
        for split, (source, numbers) in self.places.items():
            there = torch.from_numpy(arrays[source])
            taken[split] = there[: len(numbers)] if isinstance(numbers, range) else there[numbers]
        return taken


def choose(images: Images, train_images: int | None = None) -> Choice:
    """Choose which images are used: those of the test all, of the others as many as are wanted.

    Args:
        images: What was read.
        train_images: As `with_targets` has it.
    """
    train: Tensor | range
    validation: Tensor | range
    if images.validation is None:
        source, (train, validation) = "train", hold_out(len(images.train))
    else:
        source, train = "validation", range(len(images.train))
        validation = range(len(images.validation))
    wanted = train_images or len(train)
    places = {
        "train": ("train", train[:wanted]),
        "validation": (source, validation[: kept_validation(wanted, len(validation))]),
        "test": ("test", range(len(images.test))),
    }
    return Choice(len(train), places)


def hold_out(count: int) -> tuple[Tensor, Tensor]:
    """Shuffle training images once and set a fixed tenth of them aside for validation.

    Returns the numbers of training and of validation images: at least one each, of two or more.
    """
    held_out = max(1, round(count * VALIDATION_FRACTION))
    generator = torch.Generator().manual_seed(SHUFFLE_SEED)
    shuffled = torch.randperm(count, generator=generator)
    return shuffled[held_out:], shuffled[:held_out]
