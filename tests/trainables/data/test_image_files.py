"""What somebody put below a directory is found once, whatever links and names there are."""

import os
import socket
from pathlib import Path

import pytest

from trainables.data.image_files import files_below, read, stamp


def touch(*files: Path) -> None:
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"content")


def test_files_are_listed_in_the_order_of_their_names(tmp_path: Path) -> None:
    names = ["a b/1.png", "a/1.png", "a/b/2.png", "a/c.png", "z.png"]
    touch(*(tmp_path / name for name in reversed(names)))
    assert files_below(tmp_path) == sorted(names, key=lambda name: name.split("/"))


def test_what_systems_and_editors_leave_is_not_listed(tmp_path: Path) -> None:
    touch(tmp_path / "mine.png", tmp_path / "png.images" / "mine.png")
    for nobodys in (
        "._mine.png",
        ".DS_Store",
        ".hidden/x.png",
        "deep/.ipynb_checkpoints/mine-checkpoint.png",
        "__MACOSX/._mine.png",
        "__MACOSX/mine.png",
        "@eaDir/mine.png/SYNOPHOTO_THUMB_M.jpg",
        "$RECYCLE.BIN/x.png",
    ):
        touch(tmp_path / nobodys)
    assert files_below(tmp_path) == ["mine.png", "png.images/mine.png"]


def test_a_directory_of_a_hidden_one_is_listed_when_it_is_asked_for(tmp_path: Path) -> None:
    touch(tmp_path / ".cache" / "images" / "mine.png")
    assert files_below(tmp_path / ".cache" / "images") == ["mine.png"]


def test_links_are_followed(tmp_path: Path) -> None:
    directory = tmp_path / "directory"
    touch(directory / "own.png", tmp_path / "elsewhere" / "deep" / "1.png", tmp_path / "2.png")
    (directory / "train").symlink_to("../elsewhere")
    (directory / "2.png").symlink_to(tmp_path / "2.png")
    (directory / "gone.png").symlink_to("nowhere")
    (directory / "loop.png").symlink_to("loop.png")
    whole = ["2.png", "gone.png", "loop.png", "own.png", "train/deep/1.png"]
    assert files_below(directory) == whole
    (tmp_path / "link").symlink_to("directory")
    assert files_below(tmp_path / "link") == whole


def test_each_directory_is_entered_once_whatever_leads_to_it(tmp_path: Path) -> None:
    directory = tmp_path / "directory"
    touch(directory / "real" / "1.png", tmp_path / "elsewhere" / "2.png", tmp_path / "outside.png")
    (directory / "real" / "again").symlink_to("../real")
    (directory / "real" / "loop").symlink_to("..")
    (directory / "up").symlink_to("..")
    (directory / "other").symlink_to(tmp_path / "elsewhere")
    (directory / "other again").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "back").symlink_to("../directory/real")
    assert files_below(directory) == ["other/2.png", "real/1.png"]


def test_a_link_gives_a_directory_its_name_so_that_it_can_say_a_split(tmp_path: Path) -> None:
    touch(tmp_path / "all" / "a" / "1.png", tmp_path / "all" / "b" / "2.png")
    (tmp_path / "splits").mkdir()
    (tmp_path / "train").symlink_to("all/a")
    (tmp_path / "splits" / "test").symlink_to("../all/b")
    assert files_below(tmp_path) == ["splits/test/2.png", "train/1.png"]


def test_names_that_are_no_text_are_listed(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9\n.png")
    touch(tmp_path / name)
    assert files_below(tmp_path) == [name]
    assert read(tmp_path / name) == b"content"


def test_a_stamp_changes_with_what_it_stands_for(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"first")
    os.utime(file, ns=(0, 0))
    first = stamp(file)
    assert stamp(file) == first
    file.write_bytes(b"other")
    os.utime(file, ns=(0, 0))
    assert stamp(file) != first


def test_what_lies_far_behind_in_a_file_changes_its_stamp_too(tmp_path: Path) -> None:
    file = tmp_path / "file"
    stamps = set()
    for last in (b"a", b"b"):
        file.write_bytes(bytes(10**6) + last)
        os.utime(file, ns=(0, 0))
        stamps.add(stamp(file))
    assert len(stamps) == 2


@pytest.mark.timeout(20)
def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket.png"))
        for name, reason in (("pipe.png", "no regular file"), ("socket.png", "No such device")):
            assert reason in stamp(tmp_path / name)
            with pytest.raises(OSError, match=reason):
                read(tmp_path / name)
    (tmp_path / "gone.png").symlink_to("nowhere")
    assert "No such file" in stamp(tmp_path / "gone.png")
