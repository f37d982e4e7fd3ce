"""`load`: from what a person typed after `--data` to images with their targets, in three splits."""

from pathlib import Path

import torch
from torch import Tensor

from trainables.data import cifar10, folders, photos, sources
from trainables.data.examples import Examples, Splits, kept_validation
from trainables.errors import UsageError, first_line
from trainables.pipelines.study import make_targets, reference

VALIDATION_FRACTION = 0.1
SHUFFLE_SEED = 0  # which images validate is part of the data, not of a search


def load(source: str, train_images: int | None = None) -> Splits:
    """Load the images of a source and run the pipeline over them.

    Args:
        source: `cifar10`; `photos`; `auto`, which is CIFAR-10 where it can be had and else photos;
            or a directory with parquet or image files.
        train_images: How many are wanted, as `Splits.cut` keeps them; the pipeline runs over no
            others. All of them without it, and where there are fewer.

    Raises:
        UsageError: There is no such source, or nothing to read in it.
    """
    sources.check(source)
    if source == "photos":
        return _with_targets(source, photos.load(), train_images)
    if source not in ("auto", "cifar10"):
        name = str(Path(source))
        return _with_targets(name, hold_out(name, *folders.load(Path(source))), train_images)
    try:
        return _with_targets("cifar10", hold_out("cifar10", *cifar10.load()), train_images)
    except OSError as error:
        reason = first_line(error)
        if source == "cifar10":
            raise UsageError(
                f"--data cifar10: {reason}; give --data photos, or a directory with images"
            ) from error
    return _with_targets(
        "photos",
        photos.load(),
        train_images,
        note=f"CIFAR-10 is not in the cache and could not be fetched ({reason})",
    )


def hold_out(name: str, train: Tensor, test: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Shuffle the training images once and set a fixed tenth of them aside for validation.

    Returns training, validation and test images. Raises UsageError where one would be left without.
    """
    held_out = max(1, round(len(train) * VALIDATION_FRACTION))
    if len(train) <= held_out:
        raise UsageError(f"{name} has {len(train)} training images: give at least 2")
    generator = torch.Generator().manual_seed(SHUFFLE_SEED)
    shuffled = train[torch.randperm(len(train), generator=generator)]
    return shuffled[held_out:], shuffled[:held_out], test


def _with_targets(
    name: str, images: tuple[Tensor, Tensor, Tensor], train_images: int | None, note: str = ""
) -> Splits:
    train, validation, test = images
    wanted = train_images or len(train)
    validation = validation[: kept_validation(wanted, len(validation))]
    used, held_out, unseen = (
        Examples(part, make_targets(reference, part), source=name, split=split)
        for part, split in (
            (train[:wanted], "train"),
            (validation, "validation"),
            (test, "test"),
        )
    )
    return Splits(used, held_out, unseen, note, available_images=len(train))
