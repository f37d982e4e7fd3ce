"""Images with their targets, cut down as asked."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from trainables.data.image_set import ImageSet
from trainables.data.labelled import LEAST_VALIDATION_IMAGES, Data, Labelled, load
from trainables.pipelines.study import reference


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 images of random pixels, four of them for the test split."""
    directory = tmp_path_factory.mktemp("images")
    pixels = torch.randint(
        256, (24, 32, 32, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    for number, image in enumerate(pixels):
        Image.fromarray(image.numpy()).save(directory / f"{number:02d}.png")
    return directory


def labelled(split: str, count: int) -> Labelled:
    images = torch.zeros(count, 3, 32, 32, dtype=torch.uint8)
    images[:, 0, 0, 0] = torch.arange(count) % 256
    return Labelled(
        ImageSet("some", split, images),
        torch.arange(count).reshape(-1, 1, 1, 1).expand(-1, 1, 28, 28),
    )


def test_every_split_comes_with_what_the_pipeline_makes_of_it(directory: Path) -> None:
    data = load(str(directory))
    assert (len(data.train), len(data.validation), len(data.test)) == (18, 2, 4)
    for split in (data.train, data.validation, data.test):
        assert torch.equal(split.targets, reference(split.source.images))
        assert torch.equal(split.examples.images, split.source.images)
        assert torch.equal(split.examples.targets, split.targets)


def test_a_source_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"--data .*/nowhere: there is no such directory"):
        load(str(tmp_path / "nowhere"))


def test_the_first_images_keep_their_own_targets() -> None:
    first = labelled("train", 10).first(3)
    assert (
        first.source.images[:, 0, 0, 0].tolist() == first.targets[:, 0, 0, 0].tolist() == [0, 1, 2]
    )


def test_more_images_than_there_are_is_told_with_the_flag() -> None:
    with pytest.raises(ValueError, match=r"11 images were asked for, .*--images between 1 and 10"):
        Data(labelled("train", 10), labelled("validation", 2), labelled("test", 2)).cut(11)


@pytest.mark.parametrize(
    ("train", "validation", "kept"),
    [(18_000, 5000, 2000), (900, 5000, LEAST_VALIDATION_IMAGES), (18_000, 1500, 1500), (30, 7, 7)],
    ids=["a ninth", "no fewer than that", "as many as there are", "a small set"],
)
def test_validation_is_cut_in_proportion(train: int, validation: int, kept: int) -> None:
    data = Data(
        labelled("train", 18_000), labelled("validation", validation), labelled("test", 40), "why"
    ).cut(train)
    assert (len(data.train), len(data.validation), len(data.test)) == (train, kept, 40)
    assert len(data.validation.targets) == kept
    assert data.note == "why"
