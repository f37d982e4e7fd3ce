import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import Tensor

from trainables.data.examples import Examples
from trainables.metrics.cosine import cosine_accuracy, cosine_similarity
from trainables.metrics.psnr import psnr_db
from trainables.metrics.ssim import ssim
from trainables.tasks import STUDY, Task


@pytest.fixture(params=["noise", "other image", "half", "same"])
def pair(request: pytest.FixtureRequest, validation: Examples) -> tuple[Tensor, Tensor]:
    targets = validation.targets[:16]
    outputs = {
        "noise": (targets + 0.1 * torch.randn_like(targets)).clamp(0, 1),
        "other image": targets.roll(1, dims=0),
        "half": targets / 2,
        "same": targets,
    }
    return outputs[request.param], targets


def arrays(pair: tuple[Tensor, Tensor]) -> list[tuple[np.ndarray, np.ndarray]]:
    outputs, targets = (images[:, 0].double().numpy() for images in pair)
    return list(zip(targets, outputs, strict=True))


def test_the_cosine_is_that_of_the_flattened_images(pair: tuple[Tensor, Tensor]) -> None:
    expected = [
        np.dot(a.ravel(), b.ravel()) / np.linalg.norm(a) / np.linalg.norm(b)
        for a, b in arrays(pair)
    ]
    cosines = cosine_similarity(*pair)
    assert cosines.shape == (16,)
    np.testing.assert_allclose(cosines, expected, atol=1e-5)


def test_two_images_without_a_common_pixel_have_cosine_zero() -> None:
    left, right = torch.zeros(2, 1, 1, 28, 28)
    left[..., :14] = 1
    right[..., 14:] = 1
    assert cosine_similarity(left, right).item() == 0
    assert cosine_similarity(left, 0.3 * left).item() == pytest.approx(1)


def test_two_black_images_are_equal_and_one_alone_is_not() -> None:
    black, grey = torch.zeros(1, 1, 28, 28), torch.full((1, 1, 28, 28), 0.5)
    outputs = torch.cat([black, black, grey, black / 0])
    targets = torch.cat([black, grey, black, black])
    cosines = cosine_similarity(outputs, targets)
    assert cosines[:3].tolist() == [1, 0, 0]
    assert cosines[3].isnan()
    assert cosine_accuracy(cosines) == 0.25


@pytest.mark.parametrize(
    ("threshold", "share"), [(0.9, 0.75), (0.95, 0.5), (0.951, 0.25), (1.0, 0.0)]
)
def test_accuracy_is_the_share_at_or_above_the_threshold_and_nan_is_a_miss(
    threshold: float, share: float
) -> None:
    cosines = torch.tensor([0.9, 0.95, 0.999, torch.nan], dtype=torch.float64)
    assert cosine_accuracy(cosines, threshold) == share


def test_the_headline_threshold_is_095() -> None:
    cosines = torch.tensor([0.94, 0.96])
    assert cosine_accuracy(cosines) == cosine_accuracy(cosines, 0.95) == 0.5


def test_ssim_equals_skimage(pair: tuple[Tensor, Tensor]) -> None:
    expected = [
        structural_similarity(
            a, b, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1
        )
        for a, b in arrays(pair)
    ]
    values = ssim(*pair, STUDY)
    assert values.shape == (16,)
    np.testing.assert_allclose(values, expected, atol=2e-4)


def test_ssim_in_float64_equals_skimage_also_where_height_and_width_differ() -> None:
    outputs, targets = torch.rand(2, 3, 1, 20, 31, dtype=torch.float64)
    expected = [
        structural_similarity(
            a, b, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1
        )
        for a, b in arrays((outputs, targets))
    ]
    np.testing.assert_allclose(ssim(outputs, targets, STUDY), expected, atol=1e-6)


def test_psnr_equals_skimage(pair: tuple[Tensor, Tensor]) -> None:
    if torch.equal(*pair):
        assert psnr_db(*pair, STUDY).tolist() == [150.0] * 16
        return
    expected = [peak_signal_noise_ratio(a, b, data_range=1) for a, b in arrays(pair)]
    np.testing.assert_allclose(psnr_db(*pair, STUDY), expected, rtol=1e-5)


WIDE = Task(output_shape=(3, 20, 31), low=-2.0, high=3.0)


def test_the_range_of_the_task_changes_neither_psnr_nor_ssim() -> None:
    """What is normalised at the end is as near as what is not."""
    outputs, targets = torch.rand(2, 4, 3, 20, 31, dtype=torch.float64)
    for metric in (psnr_db, ssim):
        plain = metric(outputs, targets, STUDY)
        torch.testing.assert_close(metric(outputs * 5 - 2, targets * 5 - 2, WIDE), plain)


def test_ssim_of_colours_is_the_mean_over_channels_as_skimage_has_it() -> None:
    outputs, targets = torch.rand(2, 4, 3, 20, 31, dtype=torch.float64) * 5
    task = Task(output_shape=(3, 20, 31), high=5.0)
    expected = [
        structural_similarity(
            a.numpy(),
            b.numpy(),
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            data_range=5,
            channel_axis=0,
        )
        for a, b in zip(targets, outputs, strict=True)
    ]
    np.testing.assert_allclose(ssim(outputs, targets, task), expected, atol=1e-6)


def test_psnr_of_a_wide_range_equals_skimage() -> None:
    outputs, targets = torch.rand(2, 4, 3, 20, 31, dtype=torch.float64) * 5 - 2
    expected = [
        peak_signal_noise_ratio(a.numpy(), b.numpy(), data_range=5)
        for a, b in zip(targets, outputs, strict=True)
    ]
    np.testing.assert_allclose(psnr_db(outputs, targets, WIDE), expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("size", "is_there"), [((11, 11), True), ((10, 28), False), ((1, 1), False)]
)
def test_images_smaller_than_its_window_have_no_ssim(size: tuple[int, int], is_there: bool) -> None:
    values = ssim(*torch.rand(2, 5, 1, *size), STUDY)
    assert values.shape == (5,)
    assert values.isfinite().tolist() == [is_there] * 5
