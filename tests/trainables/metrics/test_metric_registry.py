"""The metrics against independent ones, and the contract that every registered one keeps."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import Tensor

from tests.paths import ROOT
from trainables.data.examples import Examples
from trainables.errors import UsageError
from trainables.metrics import metric_registry
from trainables.metrics.cosine import cosine_accuracy, cosine_similarity
from trainables.metrics.metric import Metric
from trainables.metrics.metric_registry import METRICS
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


@pytest.fixture(params=METRICS)
def metric(request: pytest.FixtureRequest) -> Metric:
    """Each metric that is registered."""
    return metric_registry.find(request.param)


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 12, 17), (2, 1, 1)])
def test_a_metric_gives_a_number_of_each_image_or_nan(
    metric: Metric, shape: tuple[int, int, int]
) -> None:
    task = replace(STUDY, output_shape=shape)
    outputs, targets = torch.rand(2, 5, *shape)
    values = metric.measure(outputs, targets, task)
    assert (values.shape, values.dtype) == ((5,), torch.float32)
    alone = torch.cat(
        [metric.measure(outputs[i : i + 1], targets[i : i + 1], task) for i in range(5)]
    )
    torch.testing.assert_close(values, alone, equal_nan=True, rtol=1e-4, atol=1e-6)
    is_defined = metric.name != "ssim" or min(shape[1:]) >= 11
    assert bool(values.isfinite().all()) == is_defined


def test_what_is_nearer_is_better_and_what_is_equal_best(metric: Metric) -> None:
    targets = torch.rand(4, *STUDY.output_shape)
    noise = torch.rand_like(targets) - 0.5
    equal, near, far = (
        metric.measure(targets + part * noise, targets, STUDY) for part in (0, 0.1, 1)
    )
    sign = 1 if metric.higher_is_better else -1
    assert (sign * equal > sign * near).all()
    assert (sign * near > sign * far).all()
    assert list(metric.thresholds) == sorted(metric.thresholds)


def test_a_metric_has_the_name_by_which_it_is_found(metric: Metric) -> None:
    assert metric_registry.find(metric.name) == metric


def test_names_are_looked_up_without_pytorch() -> None:
    code = (
        "import sys; from trainables.metrics import metric_registry; "
        "from trainables.losses import loss_registry; metric_registry.check('a.py:f', ()); "
        "loss_registry.check('mse,a.py:f'); print('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("psnr", "--metric psnr: it is measured anyway; leave it out"),
        ("sharpness", "--metric sharpness: name a function of your own as package.module:function"),
        ("a.py:f,", "--metric a.py:f,: name a function of your own"),
        ("a.py:f,b.py:f", "--metric a.py:f,b.py:f: two of them would be called f; give one"),
        ("a.py:ssim", "--metric a.py:ssim: ssim is this project's own name; give yours another"),
        ("a.py:loss", "loss is this project's own name"),
        ("a.py:mean", "a metric can't be called mean, as another column of the scores is; give"),
    ],
)
def test_a_list_of_metrics_that_is_none_is_told(asked: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        metric_registry.check(asked, ("mean",))
