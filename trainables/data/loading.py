"""`load`: from what a person typed after `--data` to images with their targets, in three splits."""

import torch
from torch import Tensor

from trainables.data import sources
from trainables.data.examples import Examples, Splits, kept_validation
from trainables.data.images import Images
from trainables.own_process import Say
from trainables.pipelines import own
from trainables.pipelines.registry import PIPELINES
from trainables.task import STUDY_NAME

VALIDATION_FRACTION = 0.1
SHUFFLE_SEED = 0  # which images validate is part of the data, not of a search


def load(
    source: str,
    train_images: int | None = None,
    *,
    pipeline: str = STUDY_NAME,
    takes: str | None = None,
    size: tuple[int, int] = sources.SIZE,
    progress: Say | None = None,
) -> Splits:
    """Read the images of a source, as `sources.read` does, and make the pipeline's targets.

    Raises UsageError as that and `with_targets` do.

    Args:
        source: What a person typed after `--data`.
        size: Height and width of images.
        train_images, pipeline, takes, progress: As `with_targets` has them.
    """
    images = sources.read(source, size)
    return with_targets(images, train_images, pipeline=pipeline, takes=takes, progress=progress)


def with_targets(
    images: Images,
    train_images: int | None = None,
    *,
    pipeline: str = STUDY_NAME,
    takes: str | None = None,
    progress: Say | None = None,
) -> Splits:
    """Make the targets of a source's images: what the pipeline makes of each.

    One of this project runs here, a person's own in processes of its own.

    Args:
        images: What was read.
        train_images: How many are wanted, as `Splits.cut` keeps them; the pipeline runs over no
            others. All of them without it, and where there are fewer.
        pipeline: A name in the registry, or an object of a person's own.
        takes: What a person's own is called with; None to find out.
        progress: Gets lines of it where it takes long.

    Raises:
        UsageError: The pipeline can't be used, as `pipelines.process.work` has it.
    """
    train, test = torch.from_numpy(images.train), torch.from_numpy(images.test)
    if images.validation is None:
        train, validation = hold_out(train)
    else:
        validation = torch.from_numpy(images.validation)
    wanted = train_images or len(train)
    validation = validation[: kept_validation(wanted, len(validation))]
    used = {"train": train[:wanted], "validation": validation, "test": test}
    if pipeline in PIPELINES:
        made = own.registered(pipeline, used)
    else:
        made = own.in_own_process(pipeline, used, takes, progress)
    parts = {
        split: Examples(part, made.targets[split], source=images.source, split=split)
        for split, part in used.items()
    }
    return Splits(
        **parts,
        note=images.note,
        available_images=len(train),
        task=made.task,
        without=made.without,
        probes=made.probes,
    )


def hold_out(train: Tensor) -> tuple[Tensor, Tensor]:
    """Shuffle the training images once and set a fixed tenth of them aside for validation.

    Returns training and validation images: at least one each, if at least two are given.
    """
    held_out = max(1, round(len(train) * VALIDATION_FRACTION))
    generator = torch.Generator().manual_seed(SHUFFLE_SEED)
    shuffled = train[torch.randperm(len(train), generator=generator)]
    return shuffled[held_out:], shuffled[:held_out]
