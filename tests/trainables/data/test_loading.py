from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor

from trainables.data import loading, photos
from trainables.data.loading import hold_out, load
from trainables.errors import UsageError
from trainables.pipelines.study import Pipeline, make_targets, reference


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 images of random pixels, four of them for the test split."""
    directory = tmp_path_factory.mktemp("images")
    for number, image in enumerate(numbered(24)):
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(directory / f"{number:02d}.png")
    return directory


def numbered(count: int) -> Tensor:
    """Images that differ from each other, so that each can be told by its first pixels."""
    noise = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (count, 3, 32, 32), dtype=torch.uint8, generator=noise)


def names(tensor: Tensor) -> set[bytes]:
    return {image.numpy().tobytes() for image in tensor}


def test_every_split_comes_with_what_the_pipeline_makes_of_it(directory: Path) -> None:
    splits = load(str(directory))
    parts = (splits.train, splits.validation, splits.test)
    assert [len(part) for part in parts] == [18, 2, 4]
    assert [part.split for part in parts] == ["train", "validation", "test"]
    assert {part.source for part in parts} == {str(directory)}
    assert splits.note == ""
    for part in parts:
        assert torch.equal(part.targets, reference(part.images))


@pytest.mark.parametrize("wanted", [5, 18, 999])
def test_the_pipeline_runs_over_no_more_images_than_are_wanted(
    directory: Path, wanted: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = load(str(directory))
    made: list[int] = []

    def counted(pipeline: Pipeline, images: Tensor) -> Tensor:
        made.append(len(images))
        return make_targets(pipeline, images)

    monkeypatch.setattr(loading, "make_targets", counted)
    splits = load(str(directory), wanted)
    assert made == [min(wanted, 18), 2, 4]
    cut = whole.cut(min(wanted, 18))
    assert splits.available_images == cut.available_images == 18
    for part, expected in ((splits.train, cut.train), (splits.validation, cut.validation)):
        assert torch.equal(part.images, expected.images)
        assert torch.equal(part.targets, expected.targets)


def test_a_tenth_of_the_training_images_validates_and_none_is_lost_or_doubled() -> None:
    given, for_test = numbered(60).split([50, 10])
    train, validation, test = hold_out("mine", given, for_test)
    assert (len(train), len(validation)) == (45, 5)
    assert names(train) | names(validation) == names(given)
    assert not names(train) & names(validation)
    assert torch.equal(test, for_test)


def test_the_split_is_shuffled_the_same_way_every_time() -> None:
    given, test = numbered(60).split([50, 10])
    first = hold_out("mine", given, test)
    torch.manual_seed(99)
    again = hold_out("mine", given, test)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[1], given[:5])


@pytest.mark.parametrize("count", [2, 3])
def test_the_smallest_sets_still_train_and_validate(count: int) -> None:
    train, validation, _ = hold_out("mine", numbered(count), numbered(1))
    assert (len(train), len(validation)) == (count - 1, 1)


def test_a_single_training_image_cannot_be_split() -> None:
    with pytest.raises(UsageError, match="mine has 1 training images: give at least 2"):
        hold_out("mine", numbered(1), numbered(1))


def test_photos_are_loaded_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    given = numbered(9).split([4, 3, 2])
    monkeypatch.setattr(photos, "load", lambda: given)
    splits = load("photos")
    parts = (splits.train, splits.validation, splits.test)
    assert {part.source for part in parts} == {"photos"}
    assert [part.split for part in parts] == ["train", "validation", "test"]
    for part, images in zip(parts, given, strict=True):
        assert torch.equal(part.images, images)


def test_a_source_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--data .*/nowhere: there is no such directory"):
        load(str(tmp_path / "nowhere"))
