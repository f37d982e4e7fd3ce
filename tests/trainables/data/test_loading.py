from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from tests.trainables.pipelines import peoples
from trainables.data.examples import as_float
from trainables.data.images import Images
from trainables.data.loading import choose, hold_out, load, with_targets
from trainables.pipelines import own
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


def test_every_split_comes_with_what_the_pipeline_makes_of_it(directory: Path) -> None:
    splits = load(str(directory))
    parts = (splits.train, splits.validation, splits.test)
    assert [len(part) for part in parts] == [18, 2, 4]
    assert [part.split for part in parts] == ["train", "validation", "test"]
    assert {part.source for part in parts} == {str(directory)}
    assert splits.notes == ()
    for part in parts:
        assert torch.equal(part.targets, reference(part.images))


@pytest.mark.parametrize("wanted", [5, 18, 999])
def test_the_pipeline_runs_over_no_more_images_than_are_wanted(
    directory: Path, wanted: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = load(str(directory))
    made: list[int] = []

    of_study = own.of_study

    def counted(images: Mapping[str, Tensor]) -> own.Made:
        made.extend(map(len, images.values()))
        return of_study(images)

    monkeypatch.setattr(own, "of_study", counted)
    splits = load(str(directory), wanted)
    assert made == [min(wanted, 18), 2, 4]
    cut = whole.cut(min(wanted, 18))
    assert splits.available_images == cut.available_images == 18
    for part, expected in ((splits.train, cut.train), (splits.validation, cut.validation)):
        assert torch.equal(part.images, expected.images)
        assert torch.equal(part.targets, expected.targets)


def test_a_tenth_of_the_training_images_validates_and_none_is_lost_or_doubled() -> None:
    train, validation = hold_out(50)
    assert (len(train), len(validation)) == (45, 5)
    assert sorted([*train.tolist(), *validation.tolist()]) == list(range(50))


def test_the_split_is_shuffled_as_in_every_version() -> None:
    torch.manual_seed(99)
    train, validation = hold_out(23)
    assert validation.tolist() == [19, 8]
    assert train.tolist()[:9] == [16, 3, 15, 20, 22, 14, 4, 7, 6]


@pytest.mark.parametrize("count", [2, 3])
def test_the_smallest_sets_still_train_and_validate(count: int) -> None:
    train, validation = hold_out(count)
    assert (len(train), len(validation)) == (count - 1, 1)


def test_only_the_images_that_are_used_are_taken_out_of_a_set() -> None:
    train, test = np.zeros((20_000, 3, 8, 8), np.uint8), np.zeros((2, 3, 8, 8), np.uint8)
    chosen = choose(Images(source="mine", train=train, test=test), 90)
    used = chosen.of({"train": train, "test": test})
    assert chosen.available == 18_000
    assert [len(part) for part in used.values()] == [90, 1000, 2]
    assert used["train"].untyped_storage().nbytes() == 90 * 3 * 8 * 8
    assert used["test"].data_ptr() == test.ctypes.data, "nothing is copied"


def test_images_are_those_of_every_version_in_the_same_order() -> None:
    given = numbered(23)
    images = Images(source="mine", train=given.numpy(), test=given.numpy())
    used = choose(images, 5).of(vars(images))
    assert torch.equal(used["train"], given[[16, 3, 15, 20, 22]])
    assert torch.equal(used["validation"], given[[19, 8]])


def test_a_persons_pipeline_runs_in_a_process_that_is_started_where_none_is_given() -> None:
    given = numbered(9).numpy()
    name = f"{peoples.__file__}:halved_tensor"
    splits = with_targets(Images(source="mine", train=given, test=given), pipeline=name)
    assert splits.task.pipeline == name
    assert torch.equal(splits.test.targets, as_float(numbered(9)[:, :, ::2, ::2]))


def test_what_the_source_sets_aside_for_validation_is_taken() -> None:
    train, validation, test = (part.numpy() for part in numbered(9).split([4, 3, 2]))
    images = Images(source="mine", train=train, validation=validation, test=test, note="why")
    splits = with_targets(images)
    parts = (splits.train, splits.validation, splits.test)
    assert {part.source for part in parts} == {"mine"}
    assert [part.split for part in parts] == ["train", "validation", "test"]
    for part, given in zip(parts, (train, validation, test), strict=True):
        assert np.array_equal(part.images, given)
    assert splits.notes == ("mine: why",)
