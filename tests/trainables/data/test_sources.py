import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trainables.data import photos, sources
from trainables.data.cache import CACHE_VARIABLE
from trainables.data.images import Images
from trainables.errors import UsageError


def test_photos_are_read_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = np.zeros((2, 3, 32, 32), np.uint8)
    images = Images(source="photos", train=pixels, validation=pixels, test=pixels)
    monkeypatch.setattr(photos, "load", lambda size: {(32, 32): images}[size])
    assert sources.read("photos") is images


def test_every_source_is_read_at_the_size_that_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(photos, "CROPS", {"train": 40, "validation": 10, "test": 20})
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    for number in range(4):
        Image.new("RGB", (90, 70)).save(tmp_path / f"{number}.png")
    for source in ("photos", str(tmp_path)):
        for size in ((16, 24), (40, 32)):
            assert sources.read(source, size).test.shape[1:] == (3, *size)


@pytest.mark.parametrize("name", ["nowhere", "a file", "loop", "file/below"])
def test_a_source_that_is_not_there_is_refused_in_one_sentence(tmp_path: Path, name: str) -> None:
    (tmp_path / "a file").touch()
    (tmp_path / "loop").symlink_to("loop")
    missing = str(tmp_path / name)
    with pytest.raises(UsageError, match=r"there is no such directory|that is a file") as error:
        sources.read(missing)
    message = str(error.value)
    assert missing in message
    assert all(source in message for source in sources.SOURCES)
    assert "\n" not in message


def test_a_directory_that_no_table_can_name_is_refused_with_the_way_round(tmp_path: Path) -> None:
    directory = os.fsdecode(os.fsencode(tmp_path / "caf") + b"\xe9")
    os.mkdir(directory)
    with pytest.raises(UsageError, match="a name that is not UTF-8; give a link to that directory"):
        sources.read(directory)
