import pytest
import torch

from trainables.baselines import ceiling, floors
from trainables.data.examples import Examples
from trainables.metrics import cosine_accuracy, cosine_similarity, psnr_db
from trainables.pipelines.study import reference
from trainables.thresholds import THRESHOLDS


def test_the_floors_are_what_their_names_say(train: Examples, validation: Examples) -> None:
    baselines = {
        name: baseline(validation.images) for name, baseline in floors(train.targets).items()
    }
    assert list(baselines) == ["flat image", "mean image", "pipeline without flips"]
    assert all(outputs.shape == validation.targets.shape for outputs in baselines.values())
    torch.testing.assert_close(
        baselines["flat image"], torch.full_like(validation.targets, train.targets.mean().item())
    )
    mean_image = train.targets.mean(dim=0).expand_as(validation.targets)
    torch.testing.assert_close(baselines["mean image"], mean_image)
    torch.testing.assert_close(baselines["pipeline without flips"], validation.targets.flip(-1, -2))


@pytest.mark.parametrize("grey", [0.01, 0.3, 1.0])
def test_a_flat_image_scores_the_same_whatever_its_grey(
    train: Examples, validation: Examples, grey: float
) -> None:
    def cosines(targets: torch.Tensor) -> torch.Tensor:
        return cosine_similarity(
            floors(targets)["flat image"](validation.images), validation.targets
        )

    expected = cosines(train.targets)
    torch.testing.assert_close(
        cosines(torch.full_like(train.targets, grey)), expected, atol=1e-5, rtol=0
    )
    assert 0 < cosine_accuracy(expected) < 1


def test_the_ceiling_reaches_every_threshold(validation: Examples) -> None:
    ((_, baseline),) = ceiling().items()
    outputs = baseline(validation.images)
    assert not outputs.requires_grad
    cosines = cosine_similarity(outputs, validation.targets)
    assert max(THRESHOLDS) == 0.999
    assert cosine_accuracy(cosines, 0.999) == 1.0
    assert float(psnr_db(outputs, validation.targets).min()) > 100


def test_every_floor_is_below_the_ceiling(train: Examples, validation: Examples) -> None:
    for baseline in floors(train.targets).values():
        cosines = cosine_similarity(baseline(validation.images), validation.targets)
        assert cosine_accuracy(cosines, 0.999) < 1


def test_the_ceiling_reaches_black_images_too(validation: Examples) -> None:
    images = validation.images[:8].clone()
    images[:3] = 0
    cosines = cosine_similarity(ceiling()["pipeline's own matrix"](images), reference(images))
    assert cosine_accuracy(cosines, 0.999) == 1
