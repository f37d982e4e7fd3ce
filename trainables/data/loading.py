"""`load`: from what a person typed after `--data` to images with their targets, in three splits."""

import torch
from torch import Tensor

from trainables.data import sources
from trainables.data.examples import Examples, Splits, kept_validation
from trainables.data.images import Images
from trainables.pipelines.calling import make_targets
from trainables.pipelines.study import reference

VALIDATION_FRACTION = 0.1
SHUFFLE_SEED = 0  # which images validate is part of the data, not of a search


def load(source: str, train_images: int | None = None) -> Splits:
    """Read the images of a source, as `sources.read` does, and run the pipeline over them.

    Raises UsageError as it does.

    Args:
        source: What a person typed after `--data`.
        train_images: How many are wanted, as `with_targets` has it.
    """
    return with_targets(sources.read(source), train_images)


def with_targets(images: Images, train_images: int | None = None) -> Splits:
    """Run the pipeline over the images of a source.

    Args:
        images: What was read.
        train_images: How many are wanted, as `Splits.cut` keeps them; the pipeline runs over no
            others. All of them without it, and where there are fewer.
    """
    train, test = torch.from_numpy(images.train), torch.from_numpy(images.test)
    if images.validation is None:
        train, validation = hold_out(train)
    else:
        validation = torch.from_numpy(images.validation)
    wanted = train_images or len(train)
    validation = validation[: kept_validation(wanted, len(validation))]
    used, held_out, unseen = (
        Examples(part, make_targets(reference, part), source=images.source, split=split)
        for part, split in (
            (train[:wanted], "train"),
            (validation, "validation"),
            (test, "test"),
        )
    )
    return Splits(used, held_out, unseen, images.note, available_images=len(train))


def hold_out(train: Tensor) -> tuple[Tensor, Tensor]:
    """Shuffle the training images once and set a fixed tenth of them aside for validation.

    Returns training and validation images: at least one each, if at least two are given.
    """
    held_out = max(1, round(len(train) * VALIDATION_FRACTION))
    generator = torch.Generator().manual_seed(SHUFFLE_SEED)
    shuffled = train[torch.randperm(len(train), generator=generator)]
    return shuffled[held_out:], shuffled[:held_out]
