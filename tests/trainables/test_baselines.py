import pytest
import torch
from torch import Tensor

from tests.trainables.affine_pipelines import map_of, normalised, task_of, with_gamma
from trainables.baselines import ceilings, floors, in_8_bits, resized_input
from trainables.data.examples import Examples, Splits, as_float
from trainables.linear import AffineMap
from trainables.metrics.cosine import cosine_accuracy, cosine_similarity
from trainables.metrics.psnr import psnr_db
from trainables.pipelines.calling import Pipeline
from trainables.pipelines.study import reference, without_flips
from trainables.tasks import STUDY, Task
from trainables.thresholds import THRESHOLDS


@pytest.fixture(scope="module")
def study_map() -> AffineMap:
    return map_of(reference, STUDY)


@pytest.fixture
def study(train: Examples, validation: Examples) -> Splits:
    """The study with what loading makes of it; the validation images stand for the test."""
    return Splits(
        train,
        validation,
        validation,
        available_images=len(train),
        without={"flips": without_flips(validation.images)},
    )


def small(pipeline: Pipeline, task: Task, **more: Tensor) -> Splits:
    """Splits of 8 × 8 noise, with what is made of the test images without some steps."""
    images = torch.randint(0, 256, (3, 40, 3, 8, 8), dtype=torch.uint8)
    return Splits(
        *(Examples(part, pipeline(part)) for part in images),
        available_images=40,
        task=task,
        without=more,
    )


def test_the_studys_floors_are_what_their_names_say(study: Splits, study_map: AffineMap) -> None:
    train, test = study.train.targets, study.test
    found = {name: torch.cat([*parts]) for name, parts in floors(study, study_map).items()}
    assert list(found) == ["flat image", "mean image", "pipeline without flips"]
    assert all(outputs.shape == test.targets.shape for outputs in found.values())
    # As they were when the study was the only pipeline, bit for bit
    assert torch.equal(found["flat image"], train.mean(0, True).mean().expand_as(test.targets))
    assert torch.equal(found["mean image"], train.mean(0, True).expand_as(test.targets))
    torch.testing.assert_close(found["pipeline without flips"], test.targets.flip(-1, -2))


def test_floors_come_some_images_at_a_time(study: Splits, study_map: AffineMap) -> None:
    images = study.test.images.repeat(20, 1, 1, 1)
    many = Splits(
        study.train,
        study.validation,
        Examples(images, study.test.targets.repeat(20, 1, 1, 1)),
        available_images=1,
    )
    for parts in floors(many, study_map).values():
        assert [len(part) for part in parts] == [1000, 280]


@pytest.mark.parametrize("grey", [0.01, 0.3, 1.0])
def test_a_flat_image_scores_the_same_whatever_its_grey(
    study: Splits, study_map: AffineMap, grey: float
) -> None:
    (outputs,) = floors(study, study_map)["flat image"]
    expected = cosine_similarity(outputs, study.test.targets)
    others = cosine_similarity(torch.full_like(outputs, grey), study.test.targets)
    torch.testing.assert_close(others, expected, atol=1e-5, rtol=0)
    assert 0 < cosine_accuracy(expected) < 1


def test_the_flat_image_of_a_colour_output_has_each_channels_mean() -> None:
    task = task_of(normalised, 8, low=-2.2, high=2.7)
    data = small(normalised, task)
    (outputs,) = floors(data, map_of(normalised, task))["flat image"]
    expected = data.train.targets.mean(dim=(0, 2, 3)).view(1, 3, 1, 1).expand_as(outputs)
    torch.testing.assert_close(outputs, expected)


def test_the_resized_input_stands_among_the_floors_where_no_missing_step_gives_it() -> None:
    def half(images: Tensor) -> Tensor:
        return normalised(images).mean(dim=1, keepdim=True)

    task = task_of(half, 8, low=-2.2, high=2.7)
    own_map = map_of(half, task)
    data = small(half, task, Half=torch.zeros(40, 1, 4, 4))
    assert list(floors(data, own_map)) == [
        "flat image",
        "mean image",
        "resized input",
        "pipeline without Half",
    ]
    (resized,) = floors(data, own_map)["resized input"]
    same = floors(small(half, task), own_map) | {}
    assert "resized input" in same
    again = Splits(
        data.train,
        data.validation,
        data.test,
        available_images=1,
        task=task,
        without={"Norm": resized + 1e-5},
    )
    assert list(floors(again, own_map)) == ["flat image", "mean image", "pipeline without Norm"]


def test_the_resized_input_has_the_tasks_size_channels_and_range() -> None:
    image = torch.zeros(1, 3, 8, 8, dtype=torch.uint8)
    image[:, 0] = 255  # red
    grey = resized_input(image, Task(input_shape=(3, 8, 8), output_shape=(1, 5, 3)))
    torch.testing.assert_close(grey, torch.full((1, 1, 5, 3), 0.2989))
    colour = resized_input(image, Task(output_shape=(3, 16, 16), low=-2.0, high=3.0))
    torch.testing.assert_close(colour[0, :, 4, 4], torch.tensor([3.0, -2.0, -2.0]))
    assert colour.shape == (1, 3, 16, 16)
    assert resized_input(image, Task(output_shape=(4, 1, 1))).shape == (1, 4, 1, 1)
    same = torch.randint(0, 256, (2, 3, 8, 8), dtype=torch.uint8)
    torch.testing.assert_close(resized_input(same, Task(output_shape=(3, 8, 8))), as_float(same))


def test_the_resized_input_of_the_study_is_its_pipeline_without_flips(study: Splits) -> None:
    images = study.test.images
    torch.testing.assert_close(resized_input(images, STUDY), without_flips(images))


def test_the_ceiling_of_the_study_reaches_every_threshold(
    study: Splits, study_map: AffineMap
) -> None:
    ((name, parts),) = ceilings(STUDY, study.test, study_map).items()
    outputs = torch.cat([*parts])
    assert name == "pipeline's own matrix"
    cosines = cosine_similarity(outputs, study.test.targets)
    assert max(THRESHOLDS) == 0.999
    assert cosine_accuracy(cosines, 0.999) == 1.0
    assert float(psnr_db(outputs, study.test.targets, STUDY).min()) > 100


def test_the_ceiling_reaches_black_images_too(study: Splits, study_map: AffineMap) -> None:
    images = study.test.images[:8].clone()
    images[:3] = 0
    data = Examples(images, reference(images))
    (outputs,) = ceilings(STUDY, data, study_map)["pipeline's own matrix"]
    assert cosine_accuracy(cosine_similarity(outputs, data.targets), 0.999) == 1


def test_every_floor_of_the_study_is_below_its_ceiling(study: Splits, study_map: AffineMap) -> None:
    for parts in floors(study, study_map).values():
        cosines = cosine_similarity(torch.cat([*parts]), study.test.targets)
        assert cosine_accuracy(cosines, 0.999) < 1


def test_what_is_not_affine_has_an_affine_floor_and_its_own_output_in_bytes_as_ceiling() -> None:
    task = task_of(with_gamma, 8)
    data = small(with_gamma, task)
    names = list(floors(data, None))
    assert names == ["flat image", "mean image", "resized input", "best affine map"]
    error = {
        name: float((torch.cat([*parts]) - data.test.targets).square().mean())
        for name, parts in (floors(data, None) | ceilings(task, data.test, None)).items()
    }
    assert min(error, key=lambda name: error[name]) == "own output in 8 bits"
    assert error["own output in 8 bits"] == pytest.approx(1 / 255**2 / 12, rel=0.1)


def test_rounding_to_8_bits_goes_over_the_range_of_the_task() -> None:
    task = Task(low=-1.0, high=4.1)  # in steps of 0.02
    values = torch.tensor([-1.0, -0.989, 0.0, 4.1, 7.0])
    torch.testing.assert_close(in_8_bits(values, task), torch.tensor([-1.0, -0.98, 0.0, 4.1, 4.1]))
