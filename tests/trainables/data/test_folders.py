import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from trainables.data import folders
from trainables.data.cache import CACHE_VARIABLE
from trainables.data.folders import encoded_images
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


def as_tensor(pixels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(pixels).permute(0, 3, 1, 2)


def pixel_rows(tensor: torch.Tensor) -> set[bytes]:
    return {image.numpy().tobytes() for image in tensor}


def test_every_sixth_image_file_tests_and_pixels_are_kept(directory: Path) -> None:
    write_images(directory, 12)
    train, test = folders.load(directory)
    assert (len(train), len(test)) == (10, 2)
    assert pixel_rows(train) | pixel_rows(test) == pixel_rows(as_tensor(NOISE).contiguous())


def test_a_file_keeps_its_split_when_the_folder_is_moved(directory: Path, tmp_path: Path) -> None:
    write_images(directory, 12)
    _, test = folders.load(directory)
    moved = directory.rename(tmp_path / "elsewhere")
    assert torch.equal(folders.load(moved)[1], test)


def test_the_folders_train_and_test_are_the_split(directory: Path) -> None:
    write_images(directory / "train" / "deep", 3)
    write_images(directory / "test", 2)
    train, test = folders.load(directory)
    assert torch.equal(train, as_tensor(NOISE[:3]))
    assert torch.equal(test, as_tensor(NOISE[:2]))


@pytest.mark.parametrize("size", [(1, 1), (5, 300), (31, 33), (640, 480)])
@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P", "CMYK"])
def test_image_files_of_any_size_and_colour_become_32_by_32(
    directory: Path, size: tuple[int, int], mode: str
) -> None:
    for part in ("train", "test"):
        (directory / part).mkdir()
        Image.new("RGB", size, (200, 100, 50)).convert(mode, palette=Image.Palette.ADAPTIVE).save(
            directory / part / "image.tiff"
        )
    train, _ = folders.load(directory)
    assert train.shape == (1, 3, 32, 32)
    assert train.dtype == torch.uint8
    assert torch.equal(train, train[:, :, :1, :1].expand_as(train))
    if mode in ("RGB", "RGBA", "CMYK"):
        assert train[0, :, 0, 0].tolist() == [200, 100, 50]


def test_a_wide_image_is_cropped_to_its_middle_and_not_squeezed(directory: Path) -> None:
    wide = np.zeros((64, 192, 3), dtype=np.uint8)
    wide[:, 64:128] = 255
    for part in ("train", "test"):
        (directory / part).mkdir()
        (directory / part / "wide.png").write_bytes(png(wide))
    assert int(folders.load(directory)[0].min()) > 200


def test_a_file_that_is_no_image_is_named(directory: Path) -> None:
    write_images(directory, 5)
    for number in range(5):
        (directory / f"{number:02}.png").write_bytes(b"not an image")
    with pytest.raises(ValueError, match=r"mine/0\d\.png can't be read as an image"):
        folders.load(directory)


@pytest.mark.parametrize("count", [0, 1])
def test_a_folder_with_too_little_in_it_says_what_was_looked_for(
    directory: Path, count: int
) -> None:
    write_images(directory, count)
    (directory / "notes.txt").write_text("no image")
    with pytest.raises(
        ValueError, match=r"found neither train\.parquet and test\.parquet nor two image files"
    ) as error:
        load(str(directory))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("column", ["img", "image"])
def test_parquet_in_hugging_faces_schema_is_read_in_order(directory: Path, column: str) -> None:
    write_parquet(directory / "train.parquet", [png(pixels) for pixels in NOISE[:8]], column)
    write_parquet(directory / "test.parquet", [png(pixels) for pixels in NOISE[8:]], column)
    train, test = folders.load(directory)
    assert torch.equal(train, as_tensor(NOISE[:8]))
    assert torch.equal(test, as_tensor(NOISE[8:]))


def test_the_first_images_of_a_real_data_set_are_read(directory: Path, shared_data: Path) -> None:
    for part in ("train", "test"):
        rows = next(pq.ParquetFile(shared_data / "cifar10" / f"{part}.parquet").iter_batches(100))
        pq.write_table(pa.Table.from_batches([rows]), directory / f"{part}.parquet")
    splits = load(str(directory))
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (90, 10, 100)
    first = Image.open(io.BytesIO(rows["img"][0]["bytes"].as_py()))
    assert torch.equal(splits.test.images[0], torch.from_numpy(np.array(first)).permute(2, 0, 1))


def test_a_corrupt_row_is_named_with_its_file(directory: Path) -> None:
    good = [png(pixels) for pixels in NOISE[:4]]
    write_parquet(directory / "train.parquet", good)
    write_parquet(directory / "test.parquet", [*good[:2], good[2][:60], good[3]])
    with pytest.raises(ValueError, match=r"mine/test\.parquet, row 2 can't be read as an image"):
        folders.load(directory)


def test_a_row_without_bytes_is_named_with_its_file(directory: Path) -> None:
    for part in ("train", "test"):
        write_parquet(directory / f"{part}.parquet", [png(NOISE[0]), None])
    with pytest.raises(ValueError, match=r"mine/train\.parquet, row 1 can't be read as an image"):
        folders.load(directory)


def test_the_second_load_reads_the_cache_and_not_the_files(directory: Path) -> None:
    write_images(directory, 6)
    train, _ = folders.load(directory)
    for file in directory.iterdir():
        stamp = file.stat()
        file.write_bytes(bytes(stamp.st_size))
        os.utime(file, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert torch.equal(folders.load(directory)[0], train)


def test_a_changed_image_file_is_read_anew(directory: Path) -> None:
    write_images(directory, 6)
    before = load(str(directory))
    for file in directory.iterdir():
        stamp = file.stat()
        file.write_bytes(png(NOISE[6 + int(file.stem)]))
        os.utime(file, ns=(stamp.st_atime_ns, stamp.st_mtime_ns + 1))
    after = load(str(directory))
    assert after.train.fingerprint != before.train.fingerprint
    assert after.test.fingerprint != before.test.fingerprint


def test_changed_parquet_is_read_anew_even_when_its_time_and_size_are_kept(directory: Path) -> None:
    for pixels in (NOISE[:2], NOISE[2:4]):
        for part in ("train", "test"):
            write_parquet(directory / f"{part}.parquet", [png(image) for image in pixels])
            os.utime(directory / f"{part}.parquet", ns=(0, 0))
        assert torch.equal(folders.load(directory)[0], as_tensor(pixels))


@pytest.mark.parametrize("column", ["img", "image"])
def test_the_bytes_of_each_image_are_read_in_order(tmp_path: Path, column: str) -> None:
    rows = [{"bytes": content, "path": None} for content in (b"first", b"second", None)]
    table = pa.table({column: pa.array(rows, STRUCT), "label": [0, 1, 2]})
    pq.write_table(table, tmp_path / "train.parquet")
    assert encoded_images(tmp_path / "train.parquet") == [b"first", b"second", b""]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (
            {"picture": pa.array([{"bytes": b""}])},
            "has the columns picture: one must be named img or image",
        ),
        ({"img": pa.array([b""])}, "column img must hold a struct with a field `bytes`"),
        ({"img": pa.array([{"data": b""}])}, "column img must hold a struct with a field `bytes`"),
        (
            {"img": pa.array([], STRUCT)},
            "column img must hold a struct with a field `bytes`, one per image",
        ),
    ],
    ids=["missing column", "no struct", "no bytes", "no rows"],
)
def test_another_schema_is_refused(tmp_path: Path, table: dict[str, Any], message: str) -> None:
    pq.write_table(pa.table(table), tmp_path / "train.parquet")
    with pytest.raises(UsageError, match=rf"train\.parquet:? {message}"):
        encoded_images(tmp_path / "train.parquet")


def test_a_file_that_is_no_parquet_is_named(tmp_path: Path) -> None:
    (tmp_path / "train.parquet").write_bytes(b"not parquet")
    with pytest.raises(UsageError, match=r"train\.parquet can't be read as parquet"):
        encoded_images(tmp_path / "train.parquet")
