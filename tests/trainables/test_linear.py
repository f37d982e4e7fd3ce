import pytest
import torch
from torch import Tensor

from trainables.data.examples import as_float
from trainables.linear import dense_matrix, factors
from trainables.pipelines.study import reference, without_flips

IMAGES = {
    "noise": torch.randint(0, 256, (64, 3, 32, 32), dtype=torch.uint8),
    "black": torch.zeros(1, 3, 32, 32, dtype=torch.uint8),
    "white": torch.full((1, 3, 32, 32), 255, dtype=torch.uint8),
}


@pytest.fixture(params=IMAGES)
def images(request: pytest.FixtureRequest) -> Tensor:
    return IMAGES[request.param]


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


def test_the_matrix_reproduces_its_pipeline(images: Tensor) -> None:
    matrix = dense_matrix(reference)
    assert matrix.shape == (784, 3072)
    torch.testing.assert_close(
        as_float(images).flatten(1) @ matrix.T, reference(images).flatten(1), atol=2e-6, rtol=0
    )
