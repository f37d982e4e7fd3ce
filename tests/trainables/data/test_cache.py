import resource
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from trainables.data import cache as caching
from trainables.data.cache import (
    CACHE_VARIABLE,
    Arrays,
    Form,
    New,
    cache_directory,
    filled_once,
    new_directory,
)
from trainables.errors import UsageError

SPLITS = ("train", "validation", "test")


class Filler:
    """Fills with the number of the call, so that a test sees whether it was called again."""

    def __init__(self, *names: str, rows: int = 2) -> None:
        self.calls = 0
        self.forms = {name: Form((rows, 3)) for name in names or SPLITS}

    def __call__(self, new: New) -> Arrays:
        self.calls += 1
        arrays = new(self.forms)
        for array in arrays.values():
            array[:] = self.calls
        return arrays

    def read(self, key: str = "key") -> Arrays:
        return filled_once("--data mine", key, self.forms, self)


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


def test_arrays_are_filled_once_and_then_mapped() -> None:
    fill = Filler()
    for arrays in (fill.read(), fill.read()):
        assert arrays.keys() == set(SPLITS)
        assert all(isinstance(array, np.memmap) and (array == 1).all() for array in arrays.values())
        arrays["train"][:] = 9  # which is nobody else's
    assert fill.calls == 1


def test_arrays_are_of_the_forms_that_were_asked_for() -> None:
    forms = {"train": Form((0, 3)), "test": Form((2, 1), np.float32)}
    arrays = filled_once("--data mine", "key", forms, lambda new: new(forms))
    assert {name: Form(a.shape, a.dtype.type) for name, a in arrays.items()} == forms


def test_what_is_filled_is_a_file_already(cache: Path) -> None:
    def fill(new: New) -> Arrays:
        arrays = new({"train": Form((1000, 1000))})
        assert isinstance(arrays["train"], np.memmap)
        (file,) = (path for path in cache.rglob("*") if path.is_file())
        assert file.stat().st_blocks * 512 >= 1_000_000, "the disk's room is taken beforehand"
        return arrays

    filled_once("--data mine", "key", ["train"], fill)


def test_a_fill_that_fails_or_is_interrupted_leaves_nothing(cache: Path) -> None:
    fill = Filler()

    def broken(new: New) -> Arrays:
        fill(new)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        filled_once("--data mine", "key", SPLITS, broken)
    assert [path for path in cache.rglob("*") if path.is_file()] == []
    assert int(fill.read()["train"][0, 0]) == 2


@pytest.mark.parametrize("written", [0, 1, 2])
def test_a_writer_that_is_killed_between_two_files_leaves_nothing_that_is_read(
    written: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved = iter(range(9))
    replace = Path.replace

    def killed(aside: Path, path: Path) -> None:
        if next(moved) == written:
            raise KeyboardInterrupt
        replace(aside, path)

    fill = Filler()
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            fill.read()
    assert int(fill.read()["test"][0, 0]) == 2


def test_another_key_is_filled_for_itself() -> None:
    fill = Filler()
    fill.read()
    assert int(fill.read("key changed")["train"][0, 0]) == 2


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("damage", [truncate, lambda path: path.write_bytes(b""), Path.unlink])
def test_a_torn_cache_file_is_filled_anew_and_mended(
    cache: Path, split: str, damage: Callable[[Path], None]
) -> None:
    fill = Filler()
    fill.read()
    (file,) = (cache / "splits").rglob(f"{split}.npy")
    damage(file)
    assert all((array == 2).all() for array in fill.read().values())
    fill.read()
    assert fill.calls == 2


def test_a_cache_that_cannot_be_written_is_no_reason_to_stop(cache: Path) -> None:
    cache.write_text("a file where the directory should be")
    fill = Filler()
    fill.read()
    assert int(fill.read()["train"][0, 0]) == 2


def test_a_disk_that_is_full_leaves_no_part_of_a_file(cache: Path) -> None:
    fill = Filler(rows=100_000)
    fill.forms["test"] = Form((1, 1))
    with file_size_limit(1000):
        arrays = fill.read()
    assert all((array == 1).all() for array in arrays.values())
    assert [path for path in cache.rglob("*") if path.is_file()] == []


def test_what_neither_disk_nor_memory_takes_is_refused_with_its_size(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.write_text("a file where the directory should be")
    monkeypatch.setattr(caching.psutil, "virtual_memory", lambda: SimpleNamespace(available=2**30))
    forms = {"train": Form((3 * 2**29,))}
    with pytest.raises(UsageError) as error:
        filled_once("--data mine", "key", forms, lambda new: new(forms))
    assert str(error.value) == (
        f"--data mine: its 1.5 GiB of pixels fit neither into the cache {cache} (Not a directory) "
        f"nor into memory: set TRANSFORM_TUNER_CACHE to a directory with more room, or give "
        f"smaller images"
    )


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
