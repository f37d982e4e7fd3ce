from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from trainables.data import loading
from trainables.data.images import Images
from trainables.data.loading import hold_out, load, with_targets
from trainables.pipelines.calling import Pipeline, make_targets
from trainables.pipelines.study import reference


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
    given = numbered(50)
    train, validation = hold_out(given)
    assert (len(train), len(validation)) == (45, 5)
    assert names(train) | names(validation) == names(given)
    assert not names(train) & names(validation)


def test_the_split_is_shuffled_the_same_way_every_time() -> None:
    given = numbered(50)
    first = hold_out(given)
    torch.manual_seed(99)
    again = hold_out(given)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[1], given[:5])


@pytest.mark.parametrize("count", [2, 3])
def test_the_smallest_sets_still_train_and_validate(count: int) -> None:
    train, validation = hold_out(numbered(count))
    assert (len(train), len(validation)) == (count - 1, 1)


def test_what_the_source_sets_aside_for_validation_is_taken() -> None:
    train, validation, test = (part.numpy() for part in numbered(9).split([4, 3, 2]))
    images = Images(source="mine", train=train, validation=validation, test=test, note="why")
    splits = with_targets(images)
    parts = (splits.train, splits.validation, splits.test)
    assert {part.source for part in parts} == {"mine"}
    assert [part.split for part in parts] == ["train", "validation", "test"]
    for part, given in zip(parts, (train, validation, test), strict=True):
        assert np.array_equal(part.images, given)
    assert splits.note == "why"
