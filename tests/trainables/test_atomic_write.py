import os
import subprocess
from pathlib import Path

import pytest

from trainables.atomic_write import atomic_write


def everything_below(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def test_a_file_appears_whole_when_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "new" / "weights.pt2"
    with atomic_write(path) as aside:
        aside.write_bytes(b"half")
        assert not path.exists()
        assert aside.suffix == ".pt2"
    assert everything_below(tmp_path) == {"weights.pt2": b"half"}


def test_a_block_that_raises_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "table"
    path.write_bytes(b"old")

    def write() -> None:
        with atomic_write(path) as aside:
            aside.write_bytes(b"ne")
            raise OSError("no space")

    with pytest.raises(OSError, match="no space"):
        write()
    assert everything_below(tmp_path) == {"table": b"old"}


def test_the_next_writer_writes_over_what_a_killed_one_left(tmp_path: Path) -> None:
    path = tmp_path / "table"
    with atomic_write(path) as first:
        first.write_bytes(b"")
    first.write_bytes(b"left by a killed process, and longer")
    with atomic_write(path) as second:
        second.write_bytes(b"new")
    assert everything_below(tmp_path) == {"table": b"new"}


def test_of_many_writers_each_has_a_file_of_its_own(tmp_path: Path) -> None:
    with atomic_write(tmp_path / "cache", many_writers=True) as aside:
        assert str(os.getpid()) in aside.name
        aside.write_bytes(b"")


def test_what_killed_writers_left_is_deleted_and_nothing_of_others(tmp_path: Path) -> None:
    with subprocess.Popen(["true"]) as ended:
        ended.wait()
    names = [f".cache.{ended.pid}.part.npz", f".cache.{os.getppid()}.part.npz"]
    names += [f".cached.{ended.pid}.part.npz", ".cache.x.part.npz", f"cache.{ended.pid}.part.npz"]
    for name in names:
        (tmp_path / name).write_bytes(b"half")
        os.utime(tmp_path / name, (0, 0))
    with atomic_write(tmp_path / "cache.npz", many_writers=True) as aside:
        aside.write_bytes(b"new")
    assert set(everything_below(tmp_path)) == {"cache.npz", *names[1:]}


def test_what_a_writer_on_another_machine_writes_is_left_to_it(tmp_path: Path) -> None:
    with subprocess.Popen(["true"]) as ended:  # its number is free here, and not there
        ended.wait()
    theirs = tmp_path / f".cache.{ended.pid}.part.npz"
    theirs.write_bytes(b"half")
    with atomic_write(tmp_path / "cache.npz", many_writers=True) as aside:
        aside.write_bytes(b"new")
    assert theirs.exists()


def test_a_file_with_the_same_bytes_keeps_its_time(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes(b"same")
    os.utime(path, (1, 1))
    for content, time in ((b"same", 1), (b"more", None)):
        with atomic_write(path, keep_same=True) as aside:
            aside.write_bytes(content)
        assert (path.stat().st_mtime == 1) == (time == 1)
    assert path.read_bytes() == b"more"
