from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2.functional import rotate

from tests.trainables.affine_pipelines import coarse_colour, sharpened, task_of, with_gamma
from trainables.data.examples import Examples, Splits, as_float
from trainables.kronecker import Factors, largest_terms
from trainables.linear import examine
from trainables.pipelines.calling import Pipeline
from trainables.start_map import start_map


def rotated(images: Tensor) -> Tensor:
    return rotate(as_float(images), 15.0, interpolation=InterpolationMode.BILINEAR)


def small(examples: Examples, side: int = 16) -> Tensor:
    """The middle pixels of photographs."""
    first = 16 - side // 2
    return examples.images[:, :, first : first + side, first : first + side].contiguous()


def splits(pipeline: Pipeline, images: Tensor) -> Splits:
    """Images in all three splits, with what is known of the pipeline."""
    own = replace(task_of(pipeline, images.shape[2]), pipeline="own.py:pipeline")
    task, affine = examine(pipeline, own)
    part = Examples(images, pipeline(images))
    known = {} if affine is None else affine.to_tensors()
    return Splits(part, part, part, available_images=len(images), task=task, affine=known)


def psnr(outputs: Tensor, targets: Tensor) -> float:
    """In dB, of images whose values go from 0 to 1."""
    return float(-10 * (outputs - targets).square().flatten(1).mean(dim=1).log10().mean())


@pytest.mark.parametrize(("pipeline", "terms"), [(sharpened, 2), (coarse_colour, 2)])
def test_of_a_sum_of_a_few_products_it_is_the_pipeline(
    pipeline: Pipeline, terms: int, train: Examples, validation: Examples
) -> None:
    unseen = small(validation)
    found = start_map(splits(pipeline, small(train)))
    assert (found.is_own, len(found.products.terms)) == (True, terms)
    torch.testing.assert_close(found.products(unseen), pipeline(unseen), atol=1e-4, rtol=0)
    sizes = [float(term.matrix().norm()) for term in found.products.terms]
    assert sizes == sorted(sizes, reverse=True)


def test_of_a_rotation_it_is_the_nearer_the_more_terms_there_are(
    train: Examples, validation: Examples
) -> None:
    found = start_map(splits(rotated, small(train)))
    assert (found.is_own, found.full.rank, found.products.rank) == (True, None, 32)
    unseen = small(validation)
    for most, least_db in ((4, 25), (8, 30), (16, 40)):
        nearest = found.full.as_terms(small(train), most)
        assert psnr(nearest(unseen), rotated(unseen)) > least_db
        noise = torch.randint_like(unseen, 256)  # as if all details counted alike
        nearest = found.full.as_terms(noise, most)
        assert psnr(nearest(unseen), rotated(unseen)) < least_db


def test_of_a_pipeline_that_is_not_affine_it_is_near_to_the_best_affine_map(
    train: Examples, validation: Examples
) -> None:
    unseen = small(validation, 8)
    found = start_map(splits(with_gamma, small(train, 8)))
    assert not found.is_own
    truth = with_gamma(unseen)
    errors = [float((one(unseen) - truth).square().mean()) for one in (found.products, found.full)]
    assert errors[0] < 1.2 * errors[1] < 0.1 * float(truth.var())


def test_a_map_of_some_products_is_taken_apart_into_as_many() -> None:
    shapes = ((2, 3), (7, 8), (9, 6))
    terms = [Factors(*(torch.randn(shape) for shape in shapes)) for _ in range(2)]
    terms[1] = terms[1]._replace(channels=terms[0].channels)
    matrix = sum(term.matrix() for term in terms)
    images = torch.rand(100, 3, 8, 9)
    found = largest_terms(matrix, images, (2, 7, 6), most=2)
    torch.testing.assert_close(sum(one.matrix() for one in found), matrix, atol=1e-4, rtol=1e-4)


class Largest(TorchDispatchMode):
    """Notes the largest matrix whose SVD is taken, and the largest tensor in float64."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.svd = self.float64 = 0

    def __torch_dispatch__(
        self, function: Any, types: Any, arguments: Any = (), named: Any = None
    ) -> Any:
        """Run one operation."""
        made = function(*arguments, **(named or {}))
        if function.overloadpacket.__name__ == "_linalg_svd":
            self.svd = max(self.svd, arguments[0].numel())
        if isinstance(made, Tensor) and made.dtype == torch.float64:
            self.float64 = max(self.float64, made.numel())
        return made


def test_a_matrix_is_taken_apart_without_an_svd_of_it_or_a_copy_in_float64() -> None:
    matrix, images = torch.randn(3 * 24 * 24, 3 * 12 * 12), torch.rand(100, 3, 12, 12)
    with Largest() as largest:
        found = largest_terms(matrix, images, (3, 24, 24), most=2)
    parts = 24 * 12 * 24 * 12  # of one pair of channels
    assert 0 < largest.svd < parts / 5
    assert largest.float64 < matrix.numel() / 5
    torch.manual_seed(1)
    again = largest_terms(matrix, images, (3, 24, 24), most=2)
    assert all(torch.equal(*both) for both in zip(found[1], again[1], strict=True))
