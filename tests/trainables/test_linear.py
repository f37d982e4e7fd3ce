"""Affine or not, and the map: on pipelines of which both are known."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter, ImageOps
from torch import Tensor
from torch.nn.functional import avg_pool2d

from tests.trainables.affine_pipelines import (
    blurred,
    coarse_colour,
    inverted,
    map_of,
    normalised,
    sharpened,
    task_of,
    transposed,
    with_gamma,
)
from trainables import linear
from trainables.data.examples import as_float
from trainables.linear import (
    EXACT_WITHIN,
    AffineMap,
    affine_residual,
    coarse_noise,
    examine,
)
from trainables.pipelines.calling import Calls, Pipeline
from trainables.pipelines.study import reference, without_flips
from trainables.tasks import AFFINE_WITHIN, STUDY


@pytest.fixture(scope="module")
def study_map() -> AffineMap:
    return map_of(reference, STUDY)


def in_pil(step: Callable[[Image.Image], Image.Image]) -> Pipeline:
    return Calls(step, "pil")


def study_in_bytes(image: Image.Image) -> Image.Image:
    from torchvision.transforms import v2

    steps: Any = v2.Compose([v2.Resize((28, 28)), v2.Grayscale(), v2.RandomHorizontalFlip(1.0)])
    return steps(image)


EXACT, ROUNDED, OTHER = (0.0, EXACT_WITHIN), (1e-3, AFFINE_WITHIN), (2 * AFFINE_WITHIN, 1.0)


@pytest.mark.parametrize(
    ("pipeline", "limits"),
    [
        (reference, EXACT),
        (blurred, EXACT),
        (inverted, EXACT),
        (in_pil(study_in_bytes), ROUNDED),
        (in_pil(lambda image: image.filter(ImageFilter.GaussianBlur(1.5))), ROUNDED),
        (with_gamma, OTHER),
        (lambda images: reference(images) ** 0.9, OTHER),
        (lambda images: (reference(images) > 0.5).float(), OTHER),
        (lambda images: (as_float(images) * 1.2).clamp_max(1), OTHER),
        (in_pil(lambda image: image.filter(ImageFilter.MedianFilter(3))), OTHER),
        (in_pil(ImageOps.autocontrast), OTHER),
        (in_pil(partial(ImageOps.posterize, bits=4)), OTHER),
        (in_pil(partial(ImageOps.solarize, threshold=200)), OTHER),
    ],
    ids=[
        "study",
        "blur",
        "invert",
        "study-uint8",
        "PIL-blur",
        "gamma",
        "gamma-0.9",
        "threshold",
        "clipped",
        "median",
        "autocontrast",
        "posterize",
        "solarize",
    ],
)
def test_exact_rounded_and_other_pipelines_are_far_apart(
    pipeline: Pipeline, limits: tuple[float, float]
) -> None:
    residual = affine_residual(pipeline, task_of(pipeline, side=32))
    assert limits[0] <= residual <= limits[1]


def test_the_residual_is_a_share_of_the_range() -> None:
    def squared(images: Tensor) -> Tensor:
        return as_float(images) ** 2

    def wide(images: Tensor) -> Tensor:
        return 10 * squared(images) - 5

    narrow = affine_residual(squared, task_of(squared))
    assert affine_residual(wide, task_of(wide, low=-5, high=5)) == pytest.approx(narrow, rel=1e-4)
    # ((a - b) / 2)² at most, for the values 0 to 254 of 255 that noise has
    assert 0.2 < narrow < 0.25


def test_what_happens_on_images_of_the_set_only_shows_on_them() -> None:
    def stops_at_red(images: Tensor) -> Tensor:
        is_red = (images[:, 0] == 200).flatten(1).all(dim=1)
        return as_float(images) * (~is_red).view(-1, 1, 1, 1)

    task = task_of(stops_at_red)
    red = torch.full((4, 3, 16, 16), 200, dtype=torch.uint8)
    assert affine_residual(stops_at_red, task) < EXACT_WITHIN
    assert affine_residual(stops_at_red, task, red) > AFFINE_WITHIN


@pytest.mark.parametrize(
    ("pipeline", "rank", "offset"),
    [
        (without_flips, 1, False),
        (blurred, 1, False),
        (inverted, 1, True),
        (sharpened, 2, False),
        (coarse_colour, 2, False),
    ],
    ids=["without flips", "blur", "invert", "sharpen", "coarse colour"],
)
def test_the_map_of_an_affine_pipeline_is_exact_on_unseen_images(
    pipeline: Pipeline, rank: int, offset: bool
) -> None:
    ends = (-4.0, 5.0) if pipeline is sharpened else (0.0, 1.0)
    asked = task_of(pipeline, 16, *ends)
    task, found = examine(pipeline, asked)
    assert found is not None
    assert found.rank == task.kronecker_rank == rank
    assert (task.offset, task.affine_residual <= EXACT_WITHIN) == (offset, True)
    images = torch.randint(0, 256, (20, 3, 16, 16), dtype=torch.uint8)
    outputs = found(images)
    assert outputs.dtype == torch.float32
    assert (outputs - pipeline(images)).abs().max() <= 2e-6 * asked.span
    flat = as_float(images).flatten(1) @ found.matrix().T + found.offset.flatten()
    torch.testing.assert_close(flat, outputs.flatten(1), atol=1e-5, rtol=0)


def each_channel_otherwise(images: Tensor) -> Tensor:
    """Red flipped and blurred, green moved, blue smeared along its rows."""
    red, green, blue = as_float(images).split(1, dim=1)
    smeared = (blue + blue.roll(1, 3) / 2) / 2
    return torch.cat([avg_pool2d(red, 3, 1, 1).flip(2), green.roll((3, -2), (2, 3)), smeared], 1)


def mean_colour(images: Tensor) -> Tensor:
    return as_float(images).mean(dim=(2, 3), keepdim=True)


@pytest.mark.parametrize(
    ("pipeline", "side", "rank"),
    [(each_channel_otherwise, 96, 3), (mean_colour, 32, 1), (mean_colour, 64, 1)],
)
def test_channels_of_one_product_each_are_found_in_large_images_and_for_one_pixel(
    pipeline: Pipeline, side: int, rank: int
) -> None:
    found = map_of(pipeline, task_of(pipeline, side))
    images = torch.randint(0, 256, (4, 3, side, side), dtype=torch.uint8)
    assert (found.rank, found.error < EXACT_WITHIN) == (rank, True)
    torch.testing.assert_close(found(images), pipeline(images), atol=2e-6, rtol=0)


def test_a_normalised_output_has_its_offset_and_its_own_range() -> None:
    task, found = examine(normalised, task_of(normalised, low=-2.2, high=2.7))
    assert found is not None
    assert (task.kronecker_rank, task.offset) == (1, True)
    expected = torch.tensor([-0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225])
    torch.testing.assert_close(found.offset[:, 0, 0], expected)


def test_what_makes_no_numbers_of_noise_is_left_as_it_was() -> None:
    def picky(images: Tensor) -> Tensor:
        if images.unique().numel() > 1:
            raise RuntimeError("no face")
        return as_float(images)

    def undefined(images: Tensor) -> Tensor:
        return as_float(images) / 0

    for pipeline in (picky, undefined):
        task = task_of(pipeline)
        assert examine(pipeline, task) == (task, None)


def test_rounded_outputs_have_a_rank_too_and_the_error_says_within_what() -> None:
    pipeline = in_pil(lambda image: image.resize((12, 12), Image.Resampling.BILINEAR))
    task, found = examine(pipeline, task_of(pipeline))
    assert found is not None
    assert found.rank == 1
    assert 1 / 510 <= found.error <= 2 * task.affine_residual < 1e-2


def test_what_is_affine_but_no_sum_of_few_products_is_its_matrix() -> None:
    task, found = examine(transposed, task_of(transposed))
    assert found is not None
    assert (found.rank, task.kronecker_rank) == (None, None)
    assert found.matrix().shape == (768, 768)
    images = coarse_noise(5, (3, 16, 16), seed=3)
    torch.testing.assert_close(found(images), transposed(images))


def test_the_matrix_is_left_out_where_its_images_take_too_long() -> None:
    task, found = examine(transposed, task_of(transposed), basis_sec=0.0)
    assert found is None
    assert task.affine_residual <= EXACT_WITHIN


def test_what_is_not_affine_has_no_map_and_few_calls_are_made_for_it() -> None:
    calls = []

    def counted(images: Tensor) -> Tensor:
        calls.append(len(images))
        return with_gamma(images)

    task, found = examine(counted, task_of(with_gamma))
    assert found is None
    assert (task.kronecker_rank, task.affine_residual > AFFINE_WITHIN) == (None, True)
    assert sum(calls) < 150


def test_few_calls_find_the_studys_factors() -> None:
    calls = []

    def counted(images: Tensor) -> Tensor:
        calls.append(len(images))
        return reference(images)

    examine(counted, STUDY)
    assert sum(calls) <= 600


def test_the_studys_factors_are_its_luma_and_two_turned_resizes(study_map: AffineMap) -> None:
    (term,) = study_map.terms
    assert (term.channels.shape, term.rows.shape, term.columns.shape) == (
        (1, 3),
        (28, 32),
        (32, 28),
    )
    torch.testing.assert_close(
        term.channels[0], torch.tensor([0.2989, 0.587, 0.114]), atol=1e-5, rtol=0
    )
    torch.testing.assert_close(term.rows, term.columns.mT, atol=1e-5, rtol=0)
    torch.testing.assert_close(term.rows.sum(dim=1), torch.ones(28), atol=1e-5, rtol=0)
    # The last line of the input becomes the first, and zeros are zeros
    assert term.rows[0].argmax() == 31
    assert int((term.rows != 0).sum(dim=1).max()) <= 4
    assert study_map.offset.abs().max() == 0


@pytest.mark.parametrize("name", ["black", "white"])
def test_the_studys_map_is_right_at_both_ends(study_map: AffineMap, name: str) -> None:
    images = torch.full((1, 3, 32, 32), {"black": 0, "white": 255}[name], dtype=torch.uint8)
    torch.testing.assert_close(study_map(images), reference(images), atol=2e-6, rtol=0)


@pytest.mark.parametrize("dense", [False, True])
def test_a_map_comes_back_from_its_tensors(study_map: AffineMap, dense: bool) -> None:
    kept = AffineMap(offset=study_map.offset, dense=study_map.matrix()) if dense else study_map
    again = AffineMap.from_tensors(kept.to_tensors())
    images = coarse_noise(3, (3, 32, 32))
    assert torch.equal(again(images), kept(images))
    assert (again.rank, again.error) == (kept.rank, kept.error)


def test_the_same_pipeline_has_the_same_map_each_time(study_map: AffineMap) -> None:
    again = map_of(reference, STUDY).to_tensors()
    for name, tensor in study_map.to_tensors().items():
        np.testing.assert_array_equal(again[name], tensor)


def test_coarse_noise_goes_from_single_pixels_to_one_colour() -> None:
    images = coarse_noise(6, (3, 16, 12))
    different = [len(image.flatten(1).unique(dim=1).T) for image in images]
    assert images.shape == (6, 3, 16, 12)
    assert different[0] > 150
    assert different == [*sorted(different[:5], reverse=True), different[5]]
    assert (different[4], different[5] < 5) == (1, True)


def test_a_slow_pipeline_is_asked_about_fewer_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def counted(images: Tensor) -> Tensor:
        calls.append(len(images))
        return reference(images) ** 0.5

    assert not examine(counted, STUDY)[0].is_affine
    of_a_fast_one = sum(calls)
    calls.clear()
    monkeypatch.setattr(linear, "PAIRS_SEC", 0.0)
    assert not examine(counted, STUDY)[0].is_affine
    assert (of_a_fast_one, sum(calls)) == (2 + 65 + 64, 2 + 9 + 8)


class Slow:
    """A pipeline, and a clock that its calls move on."""

    def __init__(self, pipeline: Pipeline, sec: float, import_sec: float = 0.0) -> None:
        self._pipeline, self._sec, self._import_sec = pipeline, sec, import_sec
        self.calls, self._now = 0, 0.0

    def __call__(self, images: Tensor) -> Tensor:
        self.calls += len(images)
        self._now += self._import_sec + self._sec * len(images)
        self._import_sec = 0.0
        return self._pipeline(images)

    def perf_counter(self) -> float:
        return self._now


def test_a_cold_first_call_does_not_lower_how_many_pairs_are_asked_about(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slow = Slow(with_gamma, 0.001, import_sec=10)
    monkeypatch.setattr(linear, "time", slow)
    assert not examine(slow, task_of(with_gamma))[0].is_affine
    assert slow.calls == 2 + 65 + 64


@pytest.mark.parametrize(
    ("pipeline", "sec", "calls"),
    [
        (blurred, 10.0, 2 + 9 + 8 + 1),
        (blurred, 1.0, 2 + 11 + 10 + 1 + 16),
        (transposed, 1.0, 2 + 11 + 10 + 1 + 16),
    ],
)
def test_the_map_of_a_slow_pipeline_is_left_out_where_its_calls_would_take_too_long(
    monkeypatch: pytest.MonkeyPatch, pipeline: Pipeline, sec: float, calls: int
) -> None:
    slow = Slow(pipeline, sec)
    monkeypatch.setattr(linear, "time", slow)
    task, found = examine(slow, task_of(pipeline))
    assert task.is_affine
    assert (found, task.kronecker_rank, slow.calls) == (None, None, calls)


def test_what_its_calls_have_time_for_is_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = Slow(blurred, 0.5)
    monkeypatch.setattr(linear, "time", slow)
    found = map_of(slow, task_of(blurred))
    assert (found.rank, slow.calls) == (1, 2 + 21 + 20 + 1 + 16 + 6 * 16)
