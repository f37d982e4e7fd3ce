"""The process of a person's pipeline, called here: what it makes, and what it recalls."""

import threading
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.trainables.pipelines import peoples
from trainables import own_process
from trainables.data.cache import CACHE_VARIABLE
from trainables.errors import UsageError
from trainables.pipelines import kept_targets, making, process
from trainables.pipelines.process import work

COUNTS = {"train": 30, "validation": 4, "test": 8}
OTHERWISE = "makes something else now than when its targets were kept, so they are made anew"
GREY = "image[:1] / 255"


@pytest.fixture(scope="module")
def images() -> Mapping[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    made = {
        split: torch.randint(0, 250, (count, 3, 8, 8), generator=generator, dtype=torch.uint8)
        for split, count in COUNTS.items()
    }
    made["test"][-1, 0] = 251  # like no probe image
    return made


class Made:
    """What `work` made, and of how many images of the set the pipeline was asked."""

    def __init__(
        self, path: Path, images: Mapping[str, Tensor], formula: str, say: own_process.Say
    ) -> None:
        making._calls.cache_clear()
        path.mkdir()
        (path.parent / "mine.py").write_text(
            "from tests.trainables.pipelines.peoples import calls\n"
            f"def made(image):\n    calls[0] += 1\n    return {formula}\n"
        )
        peoples.calls[0] = 0
        for split, part in images.items():
            np.save(path / f"{split}.npy", part.numpy())
        self.answer: dict[str, Any] = work(
            {
                "pipeline": f"{path.parent / 'mine.py'}:made",
                "takes": "uint8",
                "cores": 1,
                "directory": str(path),
            },
            say,
        )
        self.calls = peoples.calls[0]
        self.targets = {split: np.load(path / f"{split}.targets.npy") for split in images}

    @property
    def note(self) -> str:
        return str(self.answer["note"])


class Works:
    """Calls `work` again and again, with one cache."""

    def __init__(self, path: Path) -> None:
        self._path, self._count = path, 0

    def __call__(
        self,
        images: Mapping[str, Tensor],
        formula: str = GREY,
        say: own_process.Say = lambda line: None,
    ) -> Made:
        self._count += 1
        return Made(self._path / str(self._count), images, formula, say)


@pytest.fixture
def works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Works:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    return Works(tmp_path)


def test_targets_are_made_once_and_some_of_them_again_whenever_they_are_read(
    works: Works, images: Mapping[str, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "MADE_AGAIN", 21)
    first, second = works(images), works(images)
    total = sum(COUNTS.values())
    # In the first every image, in the second 21 of 42: 15 of the 30, 2 of the 4 and 4 of the 8
    assert first.calls - second.calls == total - 21
    assert (first.note, second.note) == ("", "")
    for split, part in images.items():
        assert np.array_equal(first.targets[split], (part[:, :1] / 255).numpy())
        assert np.array_equal(second.targets[split], first.targets[split])
    assert second.answer == first.answer


def test_of_a_slow_pipeline_fewer_are_made_again_and_it_is_told(
    works: Works, images: Mapping[str, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = works(images)
    monkeypatch.setattr(process, "AGAIN_SEC", 0.0)
    second = works(images)
    # 8 of 42: 6 of the 30, 1 of the 4 and 2 of the 8
    assert first.calls - second.calls == sum(COUNTS.values()) - 9
    assert first.note == ""
    assert second.note.endswith(
        " s an image, so only 9 of its kept targets were made again, "
        "to see whether it still makes them"
    )


@pytest.mark.parametrize(
    ("name", "told"), [("recall", "looking for kept targets"), ("keep", "keeping targets")]
)
def test_a_line_is_said_while_targets_are_kept_and_looked_for(
    works: Works,
    images: Mapping[str, Tensor],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    told: str,
) -> None:
    was_told = threading.Event()

    def say(line: str) -> None:
        if line == told:
            was_told.set()

    def slow(*_: Any) -> None:
        assert was_told.wait(60), "silent"

    monkeypatch.setattr(own_process, "TOLD_AFTER_SEC", 1e-3)
    monkeypatch.setattr(kept_targets, name, slow)
    works(images, say=say)


def test_what_is_made_again_is_drawn_anew_each_time(
    works: Works, images: Mapping[str, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "MADE_AGAIN", 15)
    drawn = []
    some = making.Making.make_some

    def noted(self: making.Making, chosen: Tensor) -> Tensor:
        drawn.append(chosen)
        return some(self, chosen)

    monkeypatch.setattr(making.Making, "make_some", noted)
    works(images)
    works(images)
    works(images)
    assert [len(one) for one in drawn] == [16, 16]
    assert not torch.equal(*drawn)  # by chance once in 10^7 times


@pytest.mark.parametrize(
    "edited",
    [
        "image[:1] / 255 + 0.001",
        "image[:1] / 255 + (image[:1].min() == 251)",  # as no probe image shows
        "image[:1, :4] / 255",
    ],
)
def test_a_pipeline_that_was_edited_is_told_and_its_targets_are_made_anew(
    works: Works, images: Mapping[str, Tensor], edited: str
) -> None:
    works(images)
    second, third = works(images, edited), works(images, edited)
    assert (second.note, third.note) == (OTHERWISE, "")
    for split, part in images.items():
        expected = torch.stack([eval(edited, {"image": image}) for image in part]).numpy()
        assert np.array_equal(second.targets[split], expected)
        assert np.array_equal(third.targets[split], expected)


def test_numbers_that_another_processor_rounds_otherwise_are_the_same_pipelines(
    works: Works, images: Mapping[str, Tensor]
) -> None:
    first, second = works(images), works(images, "image[:1] / 255 + 0.00005")
    assert second.note == ""
    assert np.array_equal(second.targets["train"], first.targets["train"])


def test_one_that_raises_now_for_an_image_is_told_by_split_and_number(
    works: Works, images: Mapping[str, Tensor]
) -> None:
    works(images)
    with pytest.raises(UsageError, match=r"it raises ZeroDivisionError.*\(test image 7\)"):
        works(images, "image[:1] / (255 if int(image[0].min()) != 251 else 0 // 0)")


def test_each_split_is_kept_for_itself(
    works: Works, images: Mapping[str, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    make = making.Making.make

    def noted(self: making.Making, jobs: list[making.Job]) -> None:
        made.extend(split for split, _ in jobs)
        make(self, jobs)

    monkeypatch.setattr(making.Making, "make", noted)
    works(images)
    fewer = works({**images, "train": images["train"][:10]})
    works({**images, "train": images["train"][:10]})
    assert made == ["test", "train", "validation", making.SOME, "train", making.SOME]
    assert (fewer.note, len(fewer.targets["train"])) == ("", 10)


def test_targets_that_do_not_fit_into_memory_are_refused_with_their_size_before_they_are_made(
    works: Works, images: Mapping[str, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    free = SimpleNamespace(available=2**26)
    monkeypatch.setattr(making.psutil, "virtual_memory", lambda: free)
    monkeypatch.setattr(making.Making, "make", None)
    # 42 images of 8 × 8 would have to be of 1024 × 1024
    with pytest.raises(UsageError) as error:
        works(images, "image[:1].repeat(1, 128, 128) / 255")
    assert str(error.value) == (
        "its targets take 0.2 GiB of memory, and 0.1 are free: give a directory with fewer images, "
        "or fewer training images by a search's --images, or a smaller --image-size"
    )


def test_targets_that_the_disk_has_no_room_for_are_refused_with_their_size(
    works: Works, images: Mapping[str, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, form: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(making, "mapped_file", full)
    with pytest.raises(UsageError, match=r"its targets take 0\.0 GiB, which .* has no room for"):
        works(images)
