import pytest
import torch

from tests.trainables.affine_pipelines import map_of, normalised, sharpened, task_of
from trainables.data.examples import Examples, as_float
from trainables.linear import examine
from trainables.networks.base import parameter_count
from trainables.networks.separable import Separable
from trainables.pipelines.study import reference
from trainables.tasks import STUDY


def test_it_has_1795_parameters() -> None:
    assert parameter_count(Separable(STUDY)) == 3 + 28 * 32 + 32 * 28 == 1795


def test_it_is_rows_times_grey_times_columns() -> None:
    network, images = Separable(STUDY), torch.rand(5, 3, 32, 32)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_()
    grey = torch.einsum("c,nchw->nhw", network.channels, images)
    torch.testing.assert_close(
        network(images), (network.rows @ grey @ network.columns).unsqueeze(1), atol=1e-4, rtol=1e-4
    )


def test_with_the_factors_of_the_pipeline_it_is_the_pipeline(validation: Examples) -> None:
    network = Separable.from_map(map_of(reference, STUDY), STUDY)
    torch.testing.assert_close(
        network(as_float(validation.images)), validation.targets, atol=2e-6, rtol=0
    )
    assert parameter_count(network) == 1795


def test_with_the_factors_of_a_pipeline_in_colour_with_an_offset_it_is_the_pipeline() -> None:
    task, found = examine(normalised, task_of(normalised, low=-2.2, high=2.7))
    assert found is not None
    images = torch.randint(0, 256, (4, 3, 16, 16), dtype=torch.uint8)
    outputs = Separable.from_map(found, task)(as_float(images))
    torch.testing.assert_close(outputs, normalised(images), atol=1e-5, rtol=0)


def test_more_than_one_product_is_no_setting_of_its_weights() -> None:
    task = task_of(sharpened, low=-4, high=5)
    with pytest.raises(ValueError, match="too many values"):
        Separable.from_map(map_of(sharpened, task), task)


def test_its_first_outputs_are_those_of_an_image(validation: Examples) -> None:
    outputs = Separable(STUDY)(as_float(validation.images)).detach()
    assert outputs.min() >= 0
    assert 0.5 < float(outputs.mean() / validation.targets.mean()) < 2
