import pytest
import torch
from torch import Tensor
from torchvision.transforms import v2

from trainables.data.image_set import Splits
from trainables.pipelines.study import (
    CHUNK,
    as_float,
    factors,
    make_targets,
    reference,
    without_flips,
)

RESIZE_AND_GREY = [v2.ToDtype(torch.float32, scale=True), v2.Resize((28, 28)), v2.Grayscale()]
FLIPS = [v2.RandomHorizontalFlip(1), v2.RandomVerticalFlip(1)]


@pytest.fixture(params=["photographs", "noise", "black", "white"])
def images(request: pytest.FixtureRequest, photographs: Splits) -> Tensor:
    shape = (256, 3, 32, 32)
    return {
        "photographs": photographs.train.first(256).images,
        "noise": torch.randint(0, 256, shape, dtype=torch.uint8),
        "black": torch.zeros(shape, dtype=torch.uint8),
        "white": torch.full(shape, 255, dtype=torch.uint8),
    }[request.param]


@pytest.mark.parametrize("count", [1, 256])
def test_the_reference_equals_torchvision_bit_for_bit(images: Tensor, count: int) -> None:
    theirs = v2.Compose([*RESIZE_AND_GREY, *FLIPS])(images[:count])
    assert theirs.shape == (count, 1, 28, 28)
    assert torch.equal(reference(images[:count]), theirs)


def test_without_flips_equals_torchvision_without_flips_bit_for_bit(images: Tensor) -> None:
    assert torch.equal(without_flips(images), v2.Compose(RESIZE_AND_GREY)(images))


def test_every_byte_becomes_the_float_that_torchvision_makes_of_it() -> None:
    every_byte = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(
        as_float(every_byte), v2.functional.to_dtype(every_byte, torch.float32, scale=True)
    )


@pytest.mark.parametrize("pipeline", [reference, without_flips])
def test_a_pipeline_leaves_its_images_alone(photographs: Splits, pipeline) -> None:
    images = photographs.train.first(8).images
    before = images.clone()
    pipeline(images)
    assert torch.equal(images, before)


@pytest.mark.parametrize("count", [1, CHUNK, 2 * CHUNK + 1])
def test_targets_in_chunks_equal_targets_at_once(photographs: Splits, count: int) -> None:
    images = photographs.train.first(count).images
    targets = make_targets(reference, images)
    assert targets.shape == (count, 1, 28, 28)
    assert torch.equal(targets, reference(images))


@pytest.mark.parametrize("pipeline", [reference, without_flips])
def test_the_factors_reproduce_their_pipeline(images: Tensor, pipeline) -> None:
    channels, rows, columns = factors(pipeline)
    assert (channels.shape, rows.shape, columns.shape) == ((3,), (28, 32), (32, 28))
    grey = torch.einsum("c,nchw->nhw", channels, as_float(images))
    torch.testing.assert_close(
        (rows @ grey @ columns).unsqueeze(1), pipeline(images), atol=2e-6, rtol=0
    )


def test_the_factors_of_the_reference_are_those_without_flips_turned_round() -> None:
    flipped, plain = factors(reference), factors(without_flips)
    assert not torch.allclose(flipped.rows, plain.rows, atol=0.1)
    torch.testing.assert_close(flipped.rows, plain.rows.flip(0))
    torch.testing.assert_close(flipped.columns, plain.columns.flip(1))
    torch.testing.assert_close(flipped.channels, plain.channels)
