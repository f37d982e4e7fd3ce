from pathlib import Path

import pytest
import torch
from torch import Tensor

from trainables.data import image_set, sources
from trainables.data.image_set import ImageSet, Splits, split


def numbered(count: int) -> Tensor:
    """Images that differ from each other, so that each can be told by its first pixels."""
    noise = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (count, 3, 32, 32), dtype=torch.uint8, generator=noise)


def names(tensor: Tensor) -> set[bytes]:
    return {image.numpy().tobytes() for image in tensor}


@pytest.mark.parametrize(
    "wrong",
    [
        torch.zeros(2, 3, 32, 32),
        torch.zeros(2, 32, 32, 3, dtype=torch.uint8),
        torch.zeros(3, 32, 32, dtype=torch.uint8),
    ],
    ids=["float32", "channels last", "one image"],
)
def test_an_image_set_holds_uint8_images_of_32_by_32_only(wrong: Tensor) -> None:
    with pytest.raises(ValueError, match=r"\(N, 3, 32, 32\) uint8, but mine train is"):
        ImageSet("mine", "train", wrong)


def test_the_first_images_are_the_first_ones() -> None:
    whole = ImageSet("mine", "test", numbered(5))
    part = whole.first(3)
    assert (part.name, part.split, len(part)) == ("mine", "test", 3)
    assert torch.equal(part.images, whole.images[:3])


@pytest.mark.parametrize("count", [0, 6, -1])
def test_more_images_than_there_are_is_a_mistake_that_names_the_limit(count: int) -> None:
    with pytest.raises(ValueError, match="give --images between 1 and 5"):
        ImageSet("mine", "test", numbered(5)).first(count)


def test_the_fingerprint_tells_pixels_apart_and_nothing_else() -> None:
    pixels = numbered(3)
    fingerprint = ImageSet("a", "train", pixels).fingerprint
    assert ImageSet("b", "test", pixels.clone()).fingerprint == fingerprint
    assert (
        ImageSet("b", "test", pixels.contiguous(memory_format=torch.channels_last)).fingerprint
        == fingerprint
    )
    pixels[2, 1, 31, 31] ^= 1
    assert ImageSet("a", "train", pixels).fingerprint != fingerprint


def test_a_tenth_of_the_training_images_validates_and_none_is_lost_or_doubled() -> None:
    train, test = numbered(60).split([50, 10])
    splits = split("mine", train, test)
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (45, 5, 10)
    assert names(splits.train.images) | names(splits.validation.images) == names(train)
    assert not names(splits.train.images) & names(splits.validation.images)
    assert torch.equal(splits.test.images, test)


def test_the_split_is_shuffled_the_same_way_every_time() -> None:
    train, test = numbered(60).split([50, 10])
    first = split("mine", train, test)
    torch.manual_seed(99)
    again = split("mine", train, test)
    assert torch.equal(first.validation.images, again.validation.images)
    assert torch.equal(first.train.images, again.train.images)
    assert not torch.equal(first.validation.images, train[:5])


@pytest.mark.parametrize("count", [2, 3])
def test_the_smallest_sets_still_train_and_validate(count: int) -> None:
    splits = split("mine", numbered(count), numbered(1))
    assert (len(splits.train), len(splits.validation)) == (count - 1, 1)


def test_a_single_training_image_cannot_be_split() -> None:
    with pytest.raises(ValueError, match="mine has 1 training images: give at least 2"):
        split("mine", numbered(1), numbered(1))


def test_photos_are_loaded_by_name(photographs: Splits) -> None:
    loaded = image_set.load("photos")
    assert loaded.test.fingerprint == photographs.test.fingerprint
    assert loaded.note == ""


def test_a_source_that_is_not_there_is_refused_in_one_sentence(tmp_path: Path) -> None:
    missing = tmp_path / "nowhere"
    with pytest.raises(ValueError, match="there is no such directory") as error:
        image_set.load(str(missing))
    message = str(error.value)
    assert str(missing) in message
    assert all(source in message for source in sources.SOURCES)
    assert "\n" not in message
