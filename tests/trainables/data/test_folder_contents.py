"""Which files of a directory are read, and what is said of the others."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from trainables.data.folder_contents import find
from trainables.errors import UsageError

EVERY_SIXTH = "nothing is named test: every sixth training image tests"


def touch(directory: Path, *files: str) -> None:
    for file in files:
        (directory / file).parent.mkdir(parents=True, exist_ok=True)
        (directory / file).touch()


def write_table(directory: Path, *files: str, column: str = "image") -> None:
    for file in files:
        (directory / file).parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table({column: [b""]}), directory / file)


def test_image_files_of_a_folder_without_names_train_and_nothing_is_told(tmp_path: Path) -> None:
    files = ["1.JPG", "cat/2.tiff", "cat/3.gif", "dog/4.webp"]
    touch(tmp_path, *files, "notes.txt", "train.csv")
    found = find(tmp_path)
    assert (found.splits, found.images, found.note) == ({"train": files}, set(files), "")


def test_classes_below_the_folders_of_splits_count_for_nothing(tmp_path: Path) -> None:
    train, valid, test = "Train/train/1.png", "Valid/test/2.png", "Test/train/3.png"
    touch(tmp_path, train, valid, test)
    found = find(tmp_path)
    assert found.splits == {"train": [train], "validation": [valid], "test": [test]}
    assert found.note == ""


def test_the_name_of_an_image_file_says_nothing(tmp_path: Path) -> None:
    touch(tmp_path, "test_1.png", "train_1.png")
    assert find(tmp_path).splits == {"train": ["test_1.png", "train_1.png"]}


def test_all_that_is_left_out_is_told_in_one_line(tmp_path: Path) -> None:
    touch(tmp_path, "train/1.png", "val/2.png", "3.png", "4.HEIC", "val/5.heic", "6.svg")
    assert find(tmp_path).note == (
        f"{EVERY_SIXTH}; files that no name puts into a split are left out (1); "
        f".heic files are left out (2); .svg files are left out (1)"
    )


@pytest.mark.parametrize("names", [["test"], ["val"], ["Val", "Test"]])
def test_a_folder_with_nothing_to_train_on_is_refused(tmp_path: Path, names: list[str]) -> None:
    touch(tmp_path, *(f"{name}/1.png" for name in names))
    with pytest.raises(UsageError, match=r"all that is there is named .*: give the directory of"):
        find(tmp_path)


@pytest.mark.parametrize("files", [[], ["notes.txt", "._1.png", "__MACOSX/1.png"]])
def test_a_folder_without_images_says_what_was_looked_for(tmp_path: Path, files: list[str]) -> None:
    touch(tmp_path, *files)
    message = r"found neither parquet files nor image files \(\.bmp, .*\.webp\): give a directory"
    with pytest.raises(UsageError, match=message) as error:
        find(tmp_path)
    assert "\n" not in str(error.value)


def test_images_of_another_kind_are_named_where_there_are_no_others(tmp_path: Path) -> None:
    touch(tmp_path, "1.heic", "2.HEIC")
    with pytest.raises(UsageError, match=r"\.webp\), but \.heic files \(2\): give a directory"):
        find(tmp_path)


def test_shards_are_in_the_split_of_their_names(tmp_path: Path) -> None:
    train = ["data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet"]
    validation, test = "data/validation-00000-of-00001.parquet", "data/test/0000.parquet"
    write_table(tmp_path, *train, validation, test)
    found = find(tmp_path)
    assert found.splits == {"train": train, "validation": [validation], "test": [test]}
    assert found.note == ""


def test_shards_that_are_not_there_are_told(tmp_path: Path) -> None:
    parts = [f"data/train-{part:05}-of-00012.parquet" for part in (0, 1, 7)]
    write_table(tmp_path, *parts, "data/test-00000-of-00001.parquet")
    assert find(tmp_path).note == "of the 12 parts data/train-* only 3 are there"


def test_parquet_files_with_images_come_before_image_files(tmp_path: Path) -> None:
    write_table(tmp_path, "train.parquet", "test.parquet")
    write_table(tmp_path, "labels.parquet", column="label")
    touch(tmp_path, "images/1.png", "images/2.png")
    found = find(tmp_path)
    assert found.splits == {"train": ["train.parquet"], "test": ["test.parquet"]}
    assert found.images == {"images/1.png", "images/2.png"}
    assert found.note == (
        "image files are read where rows name them (2 are there); "
        "parquet files without images are left out (1)"
    )


def test_image_files_come_before_parquet_files_without_images(tmp_path: Path) -> None:
    write_table(tmp_path, "train/metadata.parquet", column="file_name")
    touch(tmp_path, "train/1.png", "test/2.png")
    found = find(tmp_path)
    assert found.splits == {"train": ["train/1.png"], "test": ["test/2.png"]}
    assert found.note == "parquet files without images are left out (1)"


def test_parquet_files_without_images_are_refused_with_their_columns(tmp_path: Path) -> None:
    write_table(tmp_path, "train.parquet", column="picture")
    message = "train.parquet has the columns picture: one must be named img or image or pixel_valu"
    with pytest.raises(UsageError, match=message):
        find(tmp_path)


def test_a_parquet_file_that_cannot_be_read_is_left_to_be_told_with_all_others(
    tmp_path: Path,
) -> None:
    touch(tmp_path, "train.parquet", "1.png")
    assert find(tmp_path).splits == {"train": ["train.parquet"]}
