import resource
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from trainables.data.cache import CACHE_VARIABLE, cache_directory, decoded_once, new_directory
from trainables.data.images import Pixels


class Decoder:
    """Decodes to the number of the call, so that a test sees whether it was called again."""

    calls = 0

    def __call__(self) -> dict[str, Pixels]:
        self.calls += 1
        return {"train": np.full((2, 3), self.calls), "test": np.full((1, 3), self.calls)}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_the_cache_lies_where_the_variable_says_and_elsewhere_without_it(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cache_directory() == cache
    monkeypatch.delenv(CACHE_VARIABLE)
    assert cache_directory().name == "transform-tuner"


def test_a_source_is_decoded_once() -> None:
    decode = Decoder()
    first = decoded_once("mine", "key", decode)
    again = decoded_once("mine", "key", decode)
    assert decode.calls == 1
    assert first.source == again.source == "mine"
    assert np.array_equal(first.train, again.train)
    assert np.array_equal(first.test, again.test)
    assert first.validation is again.validation is None


def test_a_split_for_validation_is_kept() -> None:
    splits = {split: np.full((2, 3), n) for n, split in enumerate(("train", "validation", "test"))}
    for images in (decoded_once("mine", "key", lambda: splits) for _ in range(2)):
        assert images.validation is not None
        assert np.array_equal(images.validation, splits["validation"])


@pytest.mark.parametrize("written", [0, 1, 2])
def test_a_writer_that_is_killed_between_two_files_leaves_nothing_that_is_read(
    written: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    splits = {split: np.ones((2, 3), np.uint8) for split in ("train", "validation", "test")}
    calls = iter(range(9))
    save = np.save

    def killed(file: Path, images: Pixels) -> None:
        if next(calls) == written:
            raise KeyboardInterrupt
        save(file, images)

    monkeypatch.setattr(np, "save", killed)
    with pytest.raises(KeyboardInterrupt):
        decoded_once("mine", "key", lambda: splits)
    with pytest.raises(ZeroDivisionError):
        decoded_once("mine", "key", lambda: {"train": np.ones(1 // 0)})


def test_another_key_is_decoded_for_itself() -> None:
    decode = Decoder()
    decoded_once("mine", "key", decode)
    assert int(decoded_once("mine", "key changed", decode).train[0, 0]) == 2


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("damage", [truncate, lambda path: path.write_bytes(b""), Path.unlink])
def test_a_torn_cache_file_is_decoded_anew_and_mended(
    cache: Path, split: str, damage: Callable[[Path], None]
) -> None:
    decode = Decoder()
    decoded_once("mine", "key", decode)
    (file,) = (cache / "splits").rglob(f"{split}.npy")
    damage(file)
    images = decoded_once("mine", "key", decode)
    assert (decode.calls, int(images.train[0, 0]), int(images.test[0, 0])) == (2, 2, 2)
    decoded_once("mine", "key", decode)
    assert decode.calls == 2


def test_a_cache_that_cannot_be_written_is_no_reason_to_stop(cache: Path) -> None:
    cache.write_text("a file where the directory should be")
    decode = Decoder()
    decoded_once("mine", "key", decode)
    assert int(decoded_once("mine", "key", decode).train[0, 0]) == 2


def test_a_disk_that_fills_up_leaves_no_part_of_a_file(cache: Path) -> None:
    big = {"train": np.zeros(100_000), "test": np.zeros(1)}
    with file_size_limit(1000):
        images = decoded_once("mine", "key", lambda: big)
    assert np.array_equal(images.train, big["train"])
    assert [path for path in cache.rglob("*") if path.is_file()] == []


def test_a_new_directory_appears_whole(cache: Path) -> None:
    with new_directory(cache / "set") as aside:
        assert aside is not None
        (aside / "file").write_text("content")
        assert not (cache / "set").exists()
    assert (cache / "set" / "file").read_text() == "content"


def test_a_failed_directory_leaves_nothing_behind(cache: Path) -> None:
    def fail() -> None:
        with new_directory(cache / "set") as aside:
            assert aside is not None
            (aside / "file").write_text("half")
            raise OSError("no route")

    with pytest.raises(OSError, match="no route"):
        fail()
    assert [path for path in cache.iterdir() if path.suffix != ".lock"] == []


def test_of_several_at_once_only_one_fills_the_directory(cache: Path) -> None:
    def fill(number: int) -> bool:
        with new_directory(cache / "set") as aside:
            if aside is not None:
                (aside / "file").write_text(str(number))
            return aside is not None

    with ThreadPoolExecutor(4) as pool:
        filled = list(pool.map(fill, range(4)))
    assert sorted(filled) == [False, False, False, True]
    assert (cache / "set" / "file").read_text() == str(filled.index(True))
