import pytest
import torch
from torch import Tensor

from tests.trainables.affine_pipelines import blurred, task_of, with_gamma
from trainables.best_affine import best_affine
from trainables.data.examples import Examples, as_float


def small(examples: Examples) -> Tensor:
    """The middle 8 × 8 pixels of photographs."""
    return examples.images[:, :, 12:20, 12:20].contiguous()


def error(outputs: Tensor, targets: Tensor) -> float:
    return float((outputs - targets).square().mean())


def test_for_an_affine_pipeline_it_is_nearly_the_pipeline(
    train: Examples, validation: Examples
) -> None:
    images, unseen = small(train), small(validation)
    found = best_affine(images, blurred(images), task_of(blurred, 8))
    assert error(found(unseen), blurred(unseen)) < 1e-4 * float(blurred(unseen).var())


def test_it_comes_nearer_to_a_gamma_than_the_affine_part_alone(
    train: Examples, validation: Examples
) -> None:
    images, unseen = small(train), small(validation)
    task = task_of(with_gamma, 8)
    found = best_affine(images, with_gamma(images), task)
    truth = with_gamma(unseen)
    mean = with_gamma(images).mean(dim=0)
    assert error(found(unseen), truth) < 0.3 * error(blurred(unseen), truth)
    assert error(found(unseen), truth) < 0.1 * error(mean.expand_as(truth), truth)
    assert found.error > 0.01


def test_where_rows_become_columns_it_is_a_matrix(train: Examples, validation: Examples) -> None:
    def turned(images: Tensor) -> Tensor:
        return as_float(images).mean(dim=1, keepdim=True).mT ** 0.45

    images, unseen = small(train), small(validation)
    found = best_affine(images, turned(images), task_of(turned, 8))
    assert found.rank is None
    assert error(found(unseen), turned(unseen)) < 0.2 * float(turned(unseen).var())


def test_the_same_images_give_the_same_map(train: Examples) -> None:
    images = small(train)
    one, other = (best_affine(images, with_gamma(images), task_of(with_gamma, 8)) for _ in range(2))
    assert torch.equal(one(images), other(images))


def test_two_images_are_enough(train: Examples) -> None:
    images = small(train)[:2]
    found = best_affine(images, with_gamma(images), task_of(with_gamma, 8))
    assert found(images).isfinite().all()


def test_from_a_few_large_images_it_is_found_too(
    train: Examples, validation: Examples, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = task_of(with_gamma, 32)
    monkeypatch.setattr("trainables.best_affine.MOST_NUMBERS", 8 * task.input_size)
    monkeypatch.setattr("trainables.best_affine.MOST_INPUTS", 0)
    found = best_affine(train.images, with_gamma(train.images), task)
    truth = with_gamma(validation.images)
    assert error(found(validation.images), truth) < 0.5 * error(as_float(validation.images), truth)
