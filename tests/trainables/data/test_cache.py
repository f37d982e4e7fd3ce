import resource
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from trainables.data.cache import (
    CACHE_VARIABLE,
    Decoded,
    cache_directory,
    decoded_once,
    new_directory,
)


class Decoder:
    """Decodes to the number of the call, so that a test sees whether it was called again."""

    calls = 0

    def __call__(self) -> Decoded:
        self.calls += 1
        return torch.full((2, 3), self.calls), torch.full((1, 3), self.calls)


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
    first = decoded_once("source", decode)
    again = decoded_once("source", decode)
    assert decode.calls == 1
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))


def test_another_source_is_decoded_for_itself() -> None:
    decode = Decoder()
    decoded_once("source", decode)
    train, _ = decoded_once("source changed", decode)
    assert int(train[0, 0]) == 2


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def leave_half(path: Path) -> None:
    save_file({"train": torch.zeros(1)}, path)


@pytest.mark.parametrize("damage", [truncate, lambda path: path.write_bytes(b""), leave_half])
def test_a_torn_cache_file_is_decoded_anew_and_mended(
    cache: Path, damage: Callable[[Path], None]
) -> None:
    decode = Decoder()
    decoded_once("source", decode)
    (file,) = (cache / "decoded").iterdir()
    damage(file)
    train, test = decoded_once("source", decode)
    assert (decode.calls, int(train[0, 0]), int(test[0, 0])) == (2, 2, 2)
    decoded_once("source", decode)
    assert decode.calls == 2


def test_a_cache_that_cannot_be_written_is_no_reason_to_stop(cache: Path) -> None:
    cache.write_text("a file where the directory should be")
    decode = Decoder()
    decoded_once("source", decode)
    train, _ = decoded_once("source", decode)
    assert int(train[0, 0]) == 2


def test_a_disk_that_fills_up_leaves_no_part_of_a_file(cache: Path) -> None:
    big = torch.zeros(100_000), torch.zeros(1)
    with file_size_limit(1000):
        train, _ = decoded_once("source", lambda: big)
    assert torch.equal(train, big[0])
    assert list((cache / "decoded").iterdir()) == []


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
