import hashlib
from pathlib import Path

import numpy as np
import pytest

from trainables.data import photos
from trainables.data.cache import CACHE_VARIABLE
from trainables.errors import UsageError

STEREO = ("_left", "_right")


def scene(file: str) -> str:
    stem = Path(file).stem
    return next((stem.removesuffix(side) for side in STEREO if stem.endswith(side)), stem)


@pytest.mark.parametrize(
    "identity",
    [
        lambda name, package, file: name,
        lambda name, package, file: (package, file),
        lambda name, package, file: scene(file),
    ],
    ids=["name", "file", "scene"],
)
def test_no_photograph_is_in_two_splits(identity) -> None:
    by_split = {
        split: {identity(name, *where) for name, where in photographs.items()}
        for split, photographs in photos.PHOTOGRAPHS.items()
    }
    assert all(by_split.values())
    assert sum(map(len, by_split.values())) == len(set.union(*by_split.values()))


def test_the_photographs_are_in_the_wheels_and_in_colour() -> None:
    for photographs in photos.PHOTOGRAPHS.values():
        for where in photographs.values():
            photograph = photos._views(*where)[0]
            assert min(photograph.shape[:2]) >= 256
            assert not (photograph == photograph[:, :, :1]).all()


def test_there_are_tens_of_thousands_of_crops() -> None:
    images = photos.load()
    assert images.validation is not None
    assert images.train.shape == (30_000, 3, 32, 32)
    assert images.validation.shape == (3_000, 3, 32, 32)
    assert images.test.shape == (6_000, 3, 32, 32)


def test_crops_of_the_studys_size_are_those_of_every_version(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    monkeypatch.setattr(photos, "CROPS", {"train": 40, "validation": 10, "test": 20})
    monkeypatch.setattr(photos, "SCALES", (1.0,))
    crops = photos.load().validation  # of a PNG file, which no library decodes otherwise
    assert crops is not None
    digest = hashlib.sha256(np.ascontiguousarray(crops)).hexdigest()
    assert digest == "6d771a578d31b595fd5964400030cfe21393de91c49fbd89b2faab5ab3ffcc7b"


@pytest.mark.parametrize(
    ("size", "counts"),
    [
        ((8, 8), [30_000, 3_000, 6_000]),
        ((64, 64), [30_000, 3_000, 6_000]),
        ((128, 64), [15_000, 1_500, 3_000]),
        ((224, 224), [2_449, 245, 490]),
    ],
)
def test_of_large_crops_there_are_fewer(size: tuple[int, int], counts: list[int]) -> None:
    assert list(photos.counts_at(size).values()) == counts


def test_crops_are_windows_of_their_photograph_at_any_size(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    monkeypatch.setattr(photos, "CROPS", {"train": 40, "validation": 100, "test": 20})
    monkeypatch.setattr(photos, "SCALES", (1.0,))
    images = photos.load((100, 300))
    crops = images.validation
    assert crops is not None
    assert crops.shape == (14, 3, 100, 300)
    (where,) = photos.PHOTOGRAPHS["validation"].values()
    photograph = photos._views(*where)[0].tobytes()
    assert all(crop.transpose(1, 2, 0)[50].tobytes() in photograph for crop in crops)


def test_crops_that_are_larger_than_a_photograph_are_refused() -> None:
    with pytest.raises(
        UsageError, match="no photograph for validation has 401 × 500 pixels; give a smaller"
    ):
        photos.load((401, 500))


def test_the_first_crops_are_a_fair_sample() -> None:
    whole = photos.load().train.astype(np.float32)
    sample = whole[:2000]
    assert abs(float(sample.mean() - whole.mean())) < 5
    assert abs(float(sample.std() - whole.std())) < 5


def test_a_crop_is_a_window_of_its_photograph(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    monkeypatch.setattr(photos, "CROPS", {"train": 5, "validation": 7, "test": 2})
    monkeypatch.setattr(photos, "SCALES", (1.0,))
    crops = photos.load().validation
    assert crops is not None
    (where,) = photos.PHOTOGRAPHS["validation"].values()
    photograph = photos._views(*where)[0].tobytes()
    for crop in crops:
        rows = crop.transpose(1, 2, 0)
        assert all(row.tobytes() in photograph for row in rows)


def test_the_crops_are_the_same_in_every_cache(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(photos, "CROPS", {"train": 40, "validation": 10, "test": 20})
    monkeypatch.setattr(photos, "SCALES", (4.0, 8.0))
    loaded = []
    for seed in (0, 1):
        monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / str(seed)))
        np.random.seed(seed)
        images = photos.load()
        loaded.append((images.train, images.validation, images.test))
    for first, second in zip(*loaded, strict=True):
        assert np.array_equal(first, second)
    train, validation, test = loaded[0]
    assert not np.array_equal(train[:10], validation)
    assert not np.array_equal(train[:20], test)
    assert not np.array_equal(test[:10], validation)


def test_a_missing_package_is_named() -> None:
    with pytest.raises(
        ValueError, match="--data photos needs no_such_package's photographs: pip install"
    ):
        photos._views("no_such_package", "image.png")
