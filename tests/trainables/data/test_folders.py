import errno
import io
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from trainables.data import folders, parquet_rows
from trainables.data.cache import CACHE_VARIABLE
from trainables.data.loading import load
from trainables.errors import UsageError

NOISE = np.random.default_rng(0).integers(0, 256, (12, 32, 32, 3), dtype=np.uint8)
STRUCT = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    path = tmp_path / "mine"
    path.mkdir()
    return path


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def write_images(directory: Path, count: int) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for number, pixels in enumerate(NOISE[:count]):
        (directory / f"{number:02}.png").write_bytes(png(pixels))


def write_parquet(path: Path, encoded: list[bytes | None], column: str = "img") -> None:
    rows = [{"bytes": content, "path": None} for content in encoded]
    pq.write_table(pa.table({column: pa.array(rows, STRUCT), "label": [0] * len(rows)}), path)


def channels_first(pixels: np.ndarray) -> np.ndarray:
    return pixels.transpose(0, 3, 1, 2)


def pixel_rows(images: np.ndarray) -> set[bytes]:
    return {image.tobytes() for image in images}


def test_every_sixth_image_file_tests_and_pixels_are_kept(directory: Path) -> None:
    write_images(directory, 12)
    images = folders.read(directory)
    assert (len(images.train), len(images.test), images.validation) == (10, 2, None)
    assert pixel_rows(images.train) | pixel_rows(images.test) == pixel_rows(channels_first(NOISE))


def test_a_file_keeps_its_split_when_the_folder_is_moved(directory: Path, tmp_path: Path) -> None:
    write_images(directory, 12)
    test = folders.read(directory).test
    moved = directory.rename(tmp_path / "elsewhere")
    assert np.array_equal(folders.read(moved).test, test)


def test_the_folders_train_and_test_are_the_split_in_the_order_of_names(directory: Path) -> None:
    write_images(directory / "train" / "deep", 3)
    write_images(directory / "test", 2)
    images = folders.read(directory)
    assert np.array_equal(images.train, channels_first(NOISE[:3]))
    assert np.array_equal(images.test, channels_first(NOISE[:2]))


def test_what_the_folder_sets_aside_validates_and_any_first_images_are_a_fair_sample(
    directory: Path,
) -> None:
    for number, pixels in enumerate(NOISE):
        (directory / "Train" / f"{number % 2}").mkdir(parents=True, exist_ok=True)
        (directory / "Train" / f"{number % 2}" / f"{number}.png").write_bytes(png(pixels))
    write_images(directory / "Valid", 5)
    images = folders.read(directory)
    assert images.validation is not None
    assert pixel_rows(images.validation) == pixel_rows(channels_first(NOISE[:5]))
    assert (len(images.train), len(images.test)) == (10, 2)
    assert pixel_rows(images.train) | pixel_rows(images.test) == pixel_rows(channels_first(NOISE))
    in_order = channels_first(np.concatenate([NOISE[0::2], NOISE[1::2]]))
    assert not np.array_equal(images.train, in_order[:10])


@pytest.mark.parametrize("size", [(1, 1), (5, 300), (31, 33), (640, 480)])
@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P", "CMYK"])
def test_image_files_of_any_size_and_colour_become_32_by_32(
    directory: Path, size: tuple[int, int], mode: str
) -> None:
    for part in ("train", "test"):
        (directory / part).mkdir()
        image = Image.new("RGB", size, (200, 100, 50)).convert(mode, palette=Image.Palette.ADAPTIVE)
        for number in range(2):
            image.save(directory / part / f"{number}.tiff")
    train = folders.read(directory).train
    assert train.shape == (2, 3, 32, 32)
    assert train.dtype == np.uint8
    assert np.array_equal(train, np.broadcast_to(train[:, :, :1, :1], train.shape))
    if mode in ("RGB", "RGBA", "CMYK"):
        assert train[0, :, 0, 0].tolist() == [200, 100, 50]


def test_images_of_each_size_are_kept_for_themselves(directory: Path) -> None:
    write_images(directory, 6)
    for size in ((32, 32), (20, 50), (32, 32)):
        assert folders.read(directory, size).train.shape == (5, 3, *size)
    assert pixel_rows(folders.read(directory).train) < pixel_rows(channels_first(NOISE[:6]))


def test_a_file_whose_rows_are_not_as_many_as_it_says_is_refused(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_parquet(directory / "train.parquet", [png(pixels) for pixels in NOISE[:4]])
    for said in (3, 5):
        monkeypatch.setattr(parquet_rows, "count", lambda path, said=said: said)
        with pytest.raises(UsageError, match=f"say that they have {said} rows and have 4: write"):
            folders.read(directory)


def test_a_wide_image_is_cropped_to_its_middle_and_not_squeezed(directory: Path) -> None:
    wide = np.zeros((64, 192, 3), dtype=np.uint8)
    wide[:, 64:128] = 255
    for number in range(3):
        (directory / f"{number}.png").write_bytes(png(wide))
    assert int(folders.read(directory).train.min()) > 200


def test_all_that_cannot_be_read_is_told_together_and_the_first_ten_are_named(
    directory: Path,
) -> None:
    write_images(directory / "train", 12)
    write_images(directory / "test", 2)
    (directory / "test" / "00.png").write_bytes(b"")
    (directory / "test" / "gone.png").symlink_to("/nowhere/x.png")
    (directory / "train" / os.fsdecode(b"caf\xe9\n.png")).write_bytes(b"not an image")
    os.mkfifo(directory / "train" / "pipe.png")
    with pytest.raises(UsageError) as error:
        folders.read(directory)
    assert str(error.value) == (
        f"--data {directory}: 4 of 17 images can't be read: "
        f"train/caf\\udce9\\n.png (not an image of a known format), "
        f"train/pipe.png (no regular file), test/00.png (empty), "
        f"test/gone.png (No such file or directory): mend them or take them away"
    )
    for number in range(12):
        (directory / "train" / f"{number:02}.png").write_bytes(b"not an image")
    with pytest.raises(
        UsageError, match=r"16 of 17 images can't be read: .*08\.png .* and 6 more: "
    ):
        folders.read(directory)


@pytest.mark.parametrize("count", [1, 2])
def test_a_folder_with_too_few_images_says_how_many_are_needed(directory: Path, count: int) -> None:
    write_images(directory, count)
    message = f"mine: of its images {count - 1} may train, 0 validate and 1 test: give more"
    with pytest.raises(UsageError, match=message):
        folders.read(directory)


def test_a_directory_that_cannot_be_listed_is_named(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(UsageError, match=r"mine can't be read \(Permission denied\): make it read"):
        folders.read(directory)


def test_names_that_are_no_text_are_read_like_others(directory: Path) -> None:
    write_images(directory, 6)
    for file in list(directory.iterdir()):
        file.rename(directory / os.fsdecode(b"\xff" + file.name.encode()))
    images = folders.read(directory)
    assert pixel_rows(images.train) | pixel_rows(images.test) == pixel_rows(
        channels_first(NOISE[:6])
    )


@pytest.mark.parametrize("column", ["img", "image"])
def test_parquet_in_hugging_faces_schema_is_read_in_order(directory: Path, column: str) -> None:
    write_parquet(directory / "train.parquet", [png(pixels) for pixels in NOISE[:8]], column)
    write_parquet(directory / "test.parquet", [png(pixels) for pixels in NOISE[8:]], column)
    images = folders.read(directory)
    assert np.array_equal(images.train, channels_first(NOISE[:8]))
    assert np.array_equal(images.test, channels_first(NOISE[8:]))


def test_shards_are_read_one_after_the_other_and_without_a_test_every_sixth_row_tests(
    directory: Path,
) -> None:
    encoded = [png(pixels) for pixels in NOISE]
    write_parquet(directory / "train-00000-of-00002.parquet", encoded[:5])
    write_parquet(directory / "train-00001-of-00002.parquet", encoded[5:])
    images = folders.read(directory)
    assert (len(images.train), len(images.test)) == (10, 2)
    assert pixel_rows(images.train) | pixel_rows(images.test) == pixel_rows(channels_first(NOISE))
    write_parquet(directory / "test.parquet", encoded[:1])
    assert np.array_equal(folders.read(directory).train, channels_first(NOISE))


def test_the_first_images_of_a_real_data_set_are_read(directory: Path, shared_data: Path) -> None:
    for part in ("train", "test"):
        rows = next(pq.ParquetFile(shared_data / "cifar10" / f"{part}.parquet").iter_batches(100))
        pq.write_table(pa.Table.from_batches([rows]), directory / f"{part}.parquet")
    splits = load(str(directory))
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (90, 10, 100)
    first = Image.open(io.BytesIO(rows["img"][0]["bytes"].as_py()))
    assert torch.equal(splits.test.images[0], torch.from_numpy(np.array(first)).permute(2, 0, 1))


def test_bad_rows_of_all_files_are_named_together(directory: Path) -> None:
    good = [png(pixels) for pixels in NOISE[:4]]
    write_parquet(directory / "train.parquet", [*good, None])
    write_parquet(directory / "test.parquet", [*good[:2], good[2][:60], good[3]])
    (directory / "validation.parquet").write_bytes(b"not parquet")
    with pytest.raises(UsageError) as error:
        folders.read(directory)
    said = str(error.value)
    assert said.startswith(f"--data {directory}: 3 of 10 images can't be read: ")
    assert "train.parquet, row 4 (null), validation.parquet, from row 0 (Parquet magic" in said
    assert "test.parquet, row 2 (image file is truncated" in said


def test_a_file_without_rows_is_refused(directory: Path) -> None:
    write_parquet(directory / "train.parquet", [png(NOISE[0])] * 3)
    write_parquet(directory / "test.parquet", [])
    with pytest.raises(
        UsageError, match="of its images 3 may train, 2 validate and 0 test: give more"
    ):
        folders.read(directory)


def test_the_second_read_takes_the_cache_and_decodes_nothing(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_images(directory, 6)
    write_images(directory / "val", 2)
    first = folders.read(directory)
    monkeypatch.delattr(folders, "decode")
    again = folders.read(directory)
    assert again.note == first.note != ""
    for before, after in (
        (first.train, again.train),
        (first.validation, again.validation),
        (first.test, again.test),
    ):
        assert before is not None
        assert after is not None
        assert np.array_equal(before, after)


def test_what_was_decoded_otherwise_is_decoded_anew(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_images(directory, 6)
    folders.read(directory)
    monkeypatch.setattr(folders, "VERSION", folders.VERSION + 1)
    monkeypatch.setattr(folders, "decode", lambda encoded, size: np.zeros((32, 32, 3), np.uint8))
    assert not folders.read(directory).train.any()


def write_bitmaps(directory: Path, grey: int) -> None:
    """Bitmaps of one size and one time, as archives have them."""
    directory.mkdir(exist_ok=True)
    for number in range(6):
        file = directory / f"{number}.bmp"
        Image.new("RGB", (32, 32), (grey,) * 3).save(file)
        os.utime(file, ns=(0, 0))


def test_a_folder_of_the_same_name_sizes_and_times_is_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for grey in (10, 200):
        (tmp_path / str(grey)).mkdir()
        monkeypatch.chdir(tmp_path / str(grey))
        write_bitmaps(Path("mine"), grey)
        assert (folders.read(Path("mine")).train == grey).all()


def test_a_changed_folder_is_read_anew_even_where_sizes_and_times_are_kept(directory: Path) -> None:
    for grey in (10, 200):
        write_bitmaps(directory, grey)
        assert (folders.read(directory).train == grey).all()


def test_a_folder_whose_files_change_their_splits_is_read_anew(directory: Path) -> None:
    write_images(directory / "train", 3)
    write_images(directory / "test", 2)
    folders.read(directory)
    (directory / "test").rename(directory / "val")
    images = folders.read(directory)
    assert images.validation is not None
    assert pixel_rows(images.validation) == pixel_rows(channels_first(NOISE[:2]))


def test_a_changed_file_that_rows_name_is_read_anew(directory: Path) -> None:
    write_images(directory, 6)
    table = pa.table({"image": [f"{number:02}.png" for number in range(6)]})
    pq.write_table(table, directory / "train.parquet")
    before = folders.read(directory)
    (directory / "00.png").write_bytes(png(NOISE[11]))
    after = folders.read(directory)
    assert pixel_rows(channels_first(NOISE[11:])) <= pixel_rows(
        np.concatenate([after.train, after.test])
    )
    assert pixel_rows(before.train) | pixel_rows(before.test) == pixel_rows(
        channels_first(NOISE[:6])
    )


def test_changed_parquet_is_read_anew_even_when_its_time_and_size_are_kept(directory: Path) -> None:
    for pixels in (NOISE[:2], NOISE[2:4]):
        for part in ("train", "test"):
            write_parquet(directory / f"{part}.parquet", [png(image) for image in pixels])
            os.utime(directory / f"{part}.parquet", ns=(0, 0))
        assert np.array_equal(folders.read(directory).train, channels_first(pixels))
