import pytest
import torch
from torch import Tensor
from torchvision.transforms import v2

from trainables.data.examples import Examples, as_float
from trainables.pipelines.calling import CHUNK, make_targets
from trainables.pipelines.study import reference, without_flips

RESIZE_AND_GREY = [v2.ToDtype(torch.float32, scale=True), v2.Resize((28, 28)), v2.Grayscale()]
FLIPS = [v2.RandomHorizontalFlip(1), v2.RandomVerticalFlip(1)]


@pytest.fixture(params=["photographs", "noise", "black", "white"])
def images(request: pytest.FixtureRequest, photographs: Examples) -> Tensor:
    shape = (64, 3, 32, 32)
    return {
        "photographs": photographs.images,
        "noise": torch.randint(0, 256, shape, dtype=torch.uint8),
        "black": torch.zeros(shape, dtype=torch.uint8),
        "white": torch.full(shape, 255, dtype=torch.uint8),
    }[request.param]


@pytest.mark.parametrize("count", [1, 64])
def test_the_reference_equals_torchvision_bit_for_bit(images: Tensor, count: int) -> None:
    theirs = v2.Compose([*RESIZE_AND_GREY, *FLIPS])(images[:count])
    assert theirs.shape == (count, 1, 28, 28)
    assert torch.equal(reference(images[:count]), theirs)


def test_without_flips_equals_torchvision_without_flips_bit_for_bit(images: Tensor) -> None:
    assert torch.equal(without_flips(images), v2.Compose(RESIZE_AND_GREY)(images))


@pytest.mark.parametrize("pipeline", [reference, without_flips])
def test_a_pipeline_leaves_its_images_alone(photographs: Examples, pipeline) -> None:
    images = photographs.first(8).images
    before = images.clone()
    pipeline(images)
    assert torch.equal(images, before)


def test_every_byte_becomes_the_float_that_torchvision_makes_of_it() -> None:
    every_byte = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(
        as_float(every_byte), v2.functional.to_dtype(every_byte, torch.float32, scale=True)
    )


def test_the_bytes_stay_as_they_are() -> None:
    every_byte = torch.arange(256, dtype=torch.uint8)
    as_float(every_byte).zero_()
    assert torch.equal(every_byte, torch.arange(256, dtype=torch.uint8))


@pytest.mark.parametrize("count", [1, CHUNK, 2 * CHUNK + 1])
def test_targets_in_chunks_equal_targets_at_once(count: int) -> None:
    images = torch.randint(0, 256, (count, 3, 32, 32), dtype=torch.uint8)
    shown: list[int] = []

    def pipeline(part: Tensor) -> Tensor:
        shown.append(len(part))
        return reference(part)

    targets = make_targets(pipeline, images)
    assert targets.shape == (count, 1, 28, 28)
    assert torch.equal(targets, reference(images))
    assert sum(shown) == count
    assert max(shown) <= CHUNK
