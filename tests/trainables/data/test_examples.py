from dataclasses import replace

import pytest
import torch

from trainables.data.examples import LEAST_VALIDATION_IMAGES, Examples, Splits
from trainables.errors import UsageError


def numbered(count: int, split: str = "train") -> Examples:
    """Each image and its target have their number in the corner."""
    images = torch.zeros(count, 3, 32, 32, dtype=torch.uint8)
    images[:, 0, 0, 0] = torch.arange(count) % 256
    targets = torch.zeros(1, 1, 28, 28).expand(count, -1, -1, -1)
    if count < 256:
        targets = targets.clone()
        targets[:, 0, 0, 0] = torch.arange(count)
    return Examples(images, targets, source="mine", split=split)


def splits(train: int, validation: int, test: int) -> Splits:
    counts = {"train": train, "validation": validation, "test": test}
    return Splits(
        *(numbered(count, split) for split, count in counts.items()),
        notes=("why",),
        available_images=train,
    )


@pytest.mark.parametrize(
    "images",
    [
        torch.zeros(2, 3, 32, 32),
        torch.zeros(2, 32, 32, 3, dtype=torch.uint8),
        torch.zeros(3, 32, 32, dtype=torch.uint8),
    ],
    ids=["float32", "channels last", "one image"],
)
def test_images_of_another_shape_or_type_are_refused(images: torch.Tensor) -> None:
    with pytest.raises(ValueError, match=r"images \(N, 3, H, W\) uint8 with targets"):
        Examples(images, torch.zeros(len(images), 1, 28, 28))


@pytest.mark.parametrize("shape", [(3, 1, 28, 28), (2, 28, 28)])
def test_targets_of_another_shape_or_number_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="examples are images"):
        Examples(torch.zeros(2, 3, 32, 32, dtype=torch.uint8), torch.zeros(shape))


def test_the_first_images_keep_their_own_targets_and_their_names() -> None:
    first = numbered(10, "test").first(3)
    assert (first.source, first.split, len(first)) == ("mine", "test", 3)
    assert first.images[:, 0, 0, 0].tolist() == first.targets[:, 0, 0, 0].tolist() == [0, 1, 2]


@pytest.mark.parametrize("count", [0, 6, -1])
def test_more_images_than_there_are_is_a_mistake_that_names_the_limit(count: int) -> None:
    message = f"{count} images were asked for, but the train split of mine has 5: give --images"
    with pytest.raises(UsageError, match=f"{message} between 1 and 5"):
        numbered(5).first(count)


def test_the_fingerprint_tells_pixels_apart_and_nothing_else() -> None:
    examples = numbered(3)
    fingerprint = examples.fingerprint
    other_names = replace(examples, source="other", split="test")
    laid_out = examples.images.contiguous(memory_format=torch.channels_last)
    assert other_names.fingerprint == fingerprint
    assert replace(examples, images=laid_out).fingerprint == fingerprint
    changed = examples.images.clone()
    changed[2, 1, 31, 31] ^= 1
    assert replace(examples, images=changed).fingerprint != fingerprint


def test_where_they_are_already_they_are_not_copied() -> None:
    examples = numbered(3)
    there = examples.to(torch.device("cpu"))
    assert there.images.data_ptr() == examples.images.data_ptr()
    moved = examples.to(torch.device("meta"))
    assert (moved.images.device.type, moved.targets.device.type) == ("meta", "meta")
    assert (moved.source, moved.split) == ("mine", "train")


@pytest.mark.parametrize(
    ("train", "validation", "kept"),
    [(18_000, 5000, 2000), (900, 5000, LEAST_VALIDATION_IMAGES), (18_000, 1500, 1500), (30, 7, 7)],
    ids=["a ninth", "no fewer than that", "as many as there are", "a small set"],
)
def test_validation_is_cut_in_proportion(train: int, validation: int, kept: int) -> None:
    cut = splits(18_000, validation, 40).cut(train)
    assert (len(cut.train), len(cut.validation), len(cut.test)) == (train, kept, 40)
    assert cut.notes == ("why",)


def test_a_cut_to_more_images_than_there_are_is_told_with_the_flag() -> None:
    with pytest.raises(UsageError, match=r"11 images were asked for, .*--images between 1 and 10"):
        splits(10, 2, 2).cut(11)


def test_constant_targets_are_counted_black_ones_or_not() -> None:
    images = torch.zeros(4, 3, 32, 32, dtype=torch.uint8)
    targets = torch.rand(4, 1, 28, 28)
    targets[0], targets[2] = 0, 0.5
    assert Examples(images, targets).constant_targets == 2
