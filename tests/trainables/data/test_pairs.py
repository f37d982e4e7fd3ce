from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tests.trainables.data.test_pixels import encoded
from trainables.data import decoding, pairs
from trainables.data.cache import CACHE_VARIABLE
from trainables.data.pairs import PairSet, read
from trainables.errors import UsageError

NOISE = np.random.default_rng(0).integers(0, 256, (12, 9, 7, 3), dtype=np.uint8)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    path = tmp_path / "mine"
    path.mkdir()
    return path


def write(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npy":
        np.save(path, pixels)
    else:
        Image.fromarray(pixels).save(path)


def write_pairs(directory: Path, count: int, ending: str = ".png", of: str = "") -> None:
    """Targets are a corner of the inputs' first colour, in fractions of 1 where they are arrays."""
    for number, pixels in enumerate(NOISE[:count]):
        write(directory / "input" / of / f"{number:02}.png", pixels)
        corner = pixels[:4, :5, 0]
        target = corner / 255 if ending == ".npy" else corner
        write(directory / "target" / of / f"{number:02}{ending}", target)


def parts(found: PairSet) -> list[tuple[np.ndarray, np.ndarray]]:
    splits = [name for name in ("train", "validation", "test") if name in found.targets]
    return [(getattr(found.images, name), found.targets[name]) for name in splits]


def check(found: PairSet, count: int) -> None:
    """Every pair is there once, and each target is its own input's."""
    inputs, targets = (np.concatenate(side) for side in zip(*parts(found), strict=True))
    assert {image.tobytes() for image in inputs} == {
        image.transpose(2, 0, 1).tobytes() for image in NOISE[:count]
    }
    expected = inputs[:, :1, :4, :5]
    if targets.dtype == np.float32:
        expected = (expected / 255).astype(np.float32)
    assert np.array_equal(targets, expected)


@pytest.mark.parametrize(("ending", "kind"), [(".png", np.uint8), (".npy", np.float32)])
def test_pairs_are_read_at_their_own_size_and_targets_as_they_are(
    directory: Path, ending: str, kind: type
) -> None:
    write_pairs(directory, 12, ending)
    found = read(directory)
    assert [len(inputs) for inputs, _ in parts(found)] == [10, 2]
    assert {targets.dtype.type for _, targets in parts(found)} == {kind}
    assert (found.images.source, found.images.note) == (str(directory), "")
    check(found, 12)


def test_inputs_are_scaled_where_a_size_is_asked_for_and_targets_never(directory: Path) -> None:
    write_pairs(directory, 6)
    for size in ((9, 7), (16, 20), (9, 7)):
        found = read(directory, size)
        assert found.images.train.shape == (5, 3, *size)
        assert found.targets["train"].shape == (5, 1, 4, 5)


@pytest.mark.parametrize("above", [True, False])
def test_folders_name_the_splits_above_and_below_the_sides(directory: Path, above: bool) -> None:
    for split, count in (("train", 6), ("val", 3), ("test", 2)):
        if above:
            write_pairs(directory / split, count)
        else:
            write_pairs(directory, count, of=split)
    found = read(directory)
    assert [len(inputs) for inputs, _ in parts(found)] == [6, 3, 2]
    check(found, 6)


def test_folders_may_be_named_by_other_words_in_any_case(directory: Path) -> None:
    write_pairs(directory, 6)
    (directory / "input").rename(directory / "Before")
    (directory / "target").rename(directory / "After")
    check(read(directory), 6)


def test_what_has_no_other_side_is_left_out_and_told(directory: Path) -> None:
    write_pairs(directory, 6)
    write(directory / "input" / "alone.png", NOISE[9])
    write(directory / "target" / "07.png", NOISE[9])
    write(directory / "target" / "08.png", NOISE[9])
    found = read(directory)
    assert found.images.note == (
        "inputs without a target are left out (1, such as input/alone.png); "
        "targets without an input are left out (2, such as target/07.png)"
    )
    check(found, 6)


def test_pairs_are_decoded_once(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_pairs(directory, 6)
    first = read(directory)
    with monkeypatch.context() as patch:
        patch.delattr(pairs, "decode_all")
        again = read(directory)
    for before, after in zip(parts(first), parts(again), strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))
        assert all(isinstance(array, np.memmap) for array in after)
    write(directory / "target" / "00.png", NOISE[9][:4, :5, 0])
    changed = read(directory)
    all_targets = np.concatenate([targets for _, targets in parts(changed)])
    assert (all_targets == NOISE[9][:4, :5, 0]).all(axis=(1, 2, 3)).sum() == 1


def write_parquet(path: Path, count: int, columns: tuple[str, str]) -> None:
    sides = [
        [encoded(Image.fromarray(pixels)) for pixels in NOISE[:count]],
        [{"bytes": encoded(Image.fromarray(p[:4, :5, 0])), "path": None} for p in NOISE[:count]],
    ]
    pq.write_table(pa.table(dict(zip(columns, sides, strict=True))), path)


@pytest.mark.parametrize(
    "columns", [("input", "target"), ("input_image", "edited_image"), ("Image", "Ground_Truth")]
)
@pytest.mark.parametrize("given", ["directory", "file"])
def test_rows_of_parquet_are_pairs(directory: Path, columns: tuple[str, str], given: str) -> None:
    file = directory / "test-of-something.parquet"  # whose name says nothing where it is given
    if given == "directory":
        file = directory / "all.parquet"
    write_parquet(file, 12, columns)
    found = read(file if given == "file" else directory)
    assert [len(inputs) for inputs, _ in parts(found)] == [10, 2]
    check(found, 12)


def test_parquet_files_are_splits_by_their_names(directory: Path) -> None:
    for split, count in (("train", 8), ("validation", 3), ("test", 2)):
        write_parquet(directory / f"{split}.parquet", count, ("input", "target"))
    found = read(directory)
    assert [len(inputs) for inputs, _ in parts(found)] == [8, 3, 2]
    check(found, 8)


def test_sizes_that_differ_are_refused_and_two_are_named(directory: Path) -> None:
    write_pairs(directory, 6)
    write(directory / "input" / "03.png", NOISE[3][:5])
    sentence = (
        f"--pairs {directory}: the input of input/00.png is 3 × 9 × 7 uint8, that of "
        f"input/03.png is 3 × 5 × 7 uint8: give --image-size, which inputs are scaled and cropped "
        f"to"
    )
    with pytest.raises(UsageError) as error:
        read(directory)
    assert str(error.value) == sentence
    assert read(directory, (8, 8)).images.train.shape == (5, 3, 8, 8)


@pytest.mark.parametrize(
    ("odd", "text"), [(NOISE[0], "3 × 9 × 7 uint8"), (NOISE[0][:4, :5, 0] / 255, "1 × 4 × 5 float")]
)
def test_targets_that_differ_are_refused_and_two_are_named(
    directory: Path, odd: np.ndarray, text: str
) -> None:
    write_pairs(directory, 6)
    (directory / "target" / "03.png").unlink()
    write(directory / "target" / "03.npy", odd)
    with pytest.raises(UsageError) as error:
        read(directory, (8, 8))
    said = str(error.value)
    assert said.startswith(f"--pairs {directory}: the target of input/00.png is 1 × 4 × 5 uint8, ")
    assert f"that of input/03.png is {text}" in said
    assert said.endswith("all targets must be alike")


def test_all_that_cannot_be_read_is_told_together_with_its_side(directory: Path) -> None:
    write_pairs(directory, 6)
    (directory / "input" / "00.png").write_bytes(b"")
    (directory / "target" / "04.png").write_bytes(b"text")
    with pytest.raises(UsageError) as error:
        read(directory)
    assert str(error.value) == (
        f"--pairs {directory}: 2 of 6 images can't be read: input/00.png (empty), "
        f"input/04.png (its target: not an image of a known format): mend them or take them away"
    )


def test_what_is_no_directory_of_pairs_is_refused_in_one_sentence(directory: Path) -> None:
    def refusal(path: Path) -> str:
        with pytest.raises(UsageError) as error:
            read(path)
        said = str(error.value)
        assert said.startswith(f"--pairs {path}: ")
        assert "\n" not in said
        return said

    assert "there is no such directory or parquet file" in refusal(directory / "nowhere")
    assert "found neither parquet files nor files (" in refusal(directory)
    write(directory / "input" / "0.png", NOISE[0])
    assert "no input has a target of the same name: inputs without" in refusal(directory)
    write(directory / "target" / "0.png", NOISE[0])
    assert "of its images 0 may train, 0 validate and 1 test: give more" in refusal(directory)
    write(directory / "target" / "0.npy", NOISE[0])
    assert "0.npy and target/0.png have one name without their suffix" in refusal(directory)
    write_parquet(directory / "a.parquet", 3, ("input", "other"))
    (directory / "target").rename(directory / "elsewhere")
    (directory / "input").rename(directory / "gone")
    assert "a.parquet lacks one of two columns: one must be named input or" in refusal(directory)
    (directory / "b.parquet").write_bytes(b"no parquet")
    assert "1 of 1 images can't be read: b.parquet, from row 0" in refusal(directory)


def test_only_tests_are_nothing_to_train_on(directory: Path) -> None:
    write_pairs(directory, 3, of="test")
    with pytest.raises(UsageError, match="all that is there is named test: give something to"):
        read(directory)


def test_progress_says_what_is_left(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "QUIET_SEC", 0.0)
    write_pairs(directory, 6)
    lines: list[str] = []
    read(directory, progress=lines.append)
    assert lines[0].startswith("images read: 1 of 6, about ")
