"""Every pipeline that has a name: what it makes, of what kind it is, that networks train for it."""

from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageFilter, ImageOps
from torch import Tensor

from tests.trainables.pipelines.every import EVERY, EVERY_BUT_STUDY
from trainables.data.examples import Examples, range_of
from trainables.linear import affine_residual
from trainables.networks.registry import NETWORKS, find, misfit
from trainables.pipelines.calling import BATCHES, GIVEN, Calls, as_image
from trainables.pipelines.catalogue import LINEAR, PIPELINES, TAKES, load
from trainables.pipelines.probing import probe
from trainables.tasks import Task
from trainables.training.loop import Training, TrainingConfig

Array = NDArray[np.float64]


def gradients(height: int, width: int, count: int = 2) -> Tensor:
    """Soft gradients with noise, from black to white."""
    random = np.random.default_rng(height)
    images = []
    for _ in range(count):
        corners = Image.fromarray(random.integers(0, 256, (4, 4, 3), dtype=np.uint8))
        smooth = np.asarray(corners.resize((width, height), Image.Resampling.BICUBIC))
        noisy = (smooth.astype(int) + random.integers(-20, 21, smooth.shape)).clip(0, 255)
        images.append(torch.from_numpy(noisy.astype(np.uint8)).permute(2, 0, 1))
    return torch.stack(images)


@cache
def called(name: str) -> Calls:
    return Calls(load(name), PIPELINES[name].takes, batched=name == "study")


@pytest.mark.parametrize(("height", "width"), [(32, 32), (224, 224), (33, 47)])
@pytest.mark.parametrize("name", EVERY)
def test_it_makes_the_same_of_an_image_each_time_in_0_to_1_and_leaves_the_image_alone(
    name: str, height: int, width: int
) -> None:
    images = gradients(height, width)
    made = called(name)(images)
    assert torch.equal(made, called(name)(images))
    size = (28, 28) if name == "study" else (height, width)
    assert made.shape in ((2, 1, *size), (2, 3, *size))
    assert 0 <= float(made.min()) < float(made.max()) <= 1

    takes = PIPELINES[name].takes
    assert takes in TAKES
    many = images[:1] if name == "study" else images[0]
    given, kept = GIVEN[takes](many), GIVEN[takes](many)
    single = as_image(load(name)(given))
    assert np.array_equal(np.asarray(given), np.asarray(kept))
    torch.testing.assert_close(single, made[0], atol=1e-6, rtol=0)
    if takes in BATCHES:
        batches = Calls(load(name), takes, batched=True)
        torch.testing.assert_close(batches(images), made, atol=1e-6, rtol=0)


@cache
def task_of(name: str) -> Task:
    """What probing and a look at pairs of images find of it at 32 × 32."""
    images = gradients(32, 32, 8)
    if name == "study":
        task = Task(pipeline=name)
    else:
        task = probe(name, load(name), images, PIPELINES[name].takes).task
    low, high = range_of(called(name)(images))
    residual = affine_residual(called(name), task, images)
    return Task(**{**vars(task), "low": low, "high": high, "affine_residual": residual})


@pytest.mark.parametrize("name", EVERY)
def test_it_is_affine_where_its_kind_says_so_and_takes_what_the_catalogue_says(name: str) -> None:
    task = task_of(name)
    assert task.is_affine == (PIPELINES[name].kind in LINEAR)
    assert task.is_unit
    assert task.takes == PIPELINES[name].takes
    assert task.batched == (task.takes in BATCHES)


@pytest.mark.parametrize("model", NETWORKS)
@pytest.mark.parametrize("name", EVERY)
def test_a_network_that_fits_trains_a_step_for_it(name: str, model: str) -> None:
    task = task_of(name)
    if misfit(find(model), task):
        return
    images = gradients(32, 32)
    examples = Examples(images, called(name)(images))
    config = TrainingConfig(
        model=model, task=task, learning_rate=1e-3, max_epochs=1, seed=0, batch_size=2
    )
    (epoch,) = Training(config, examples, examples, device=torch.device("cpu")).epochs()
    assert 0 < epoch.train_loss < 1


def grey(image: Array) -> Array:
    return image @ (0.2989, 0.587, 0.114)


def toned(image: Array) -> Array:
    to_colours = np.array([[393, 349, 272], [769, 686, 534], [189, 168, 131]]) / 1000
    return np.minimum(image @ to_colours, 1)


def gaussian(sigma: float, radius: int) -> Array:
    steps = np.arange(-radius, radius + 1)
    line = np.exp(-(steps**2) / (2 * sigma**2))
    return np.outer(line, line) / line.sum() ** 2


def correlated(image: Array, kernel: Array, border: str) -> Array:
    """Each pixel as the sum of those around it times a kernel, channel by channel."""
    (rows, columns), (height, width) = kernel.shape, image.shape[:2]
    padding = [(rows // 2, rows // 2), (columns // 2, columns // 2), (0, 0)][: image.ndim]
    padded = np.pad(image, padding, border)  # type: ignore[call-overload]
    return sum(
        kernel[row, column] * padded[row : row + height, column : column + width]
        for row in range(rows)
        for column in range(columns)
    )


def bilateral(image: Array) -> Array:
    """Tomasi and Manduchi 1998, with the sum of the channels' distances, as OpenCV has it."""
    height, width = image.shape[:2]
    padded = np.pad(image, ((2, 2), (2, 2), (0, 0)), "reflect")
    total, weights = np.zeros_like(image), np.zeros((height, width, 1))
    for down in range(-2, 3):
        for right in range(-2, 3):
            if down**2 + right**2 > 4:
                continue  # a disc
            other = padded[2 + down : 2 + down + height, 2 + right : 2 + right + width]
            distance = 255 * abs(other - image).sum(axis=2, keepdims=True)
            weight = np.exp(-(down**2 + right**2) / (2 * 2**2) - distance**2 / (2 * 50**2))
            total, weights = total + weight * other, weights + weight
    return total / weights


def sampled(image: Array, back: Array) -> Array:
    """An image seen through a map: each pixel's middle goes back to where its colour is taken."""
    height, width = image.shape[:2]
    rows, columns = np.mgrid[:height, :width] + 0.5
    x, y, scale = np.tensordot(back, np.stack([columns, rows, np.ones_like(rows)]), 1)
    x, y = x / scale - 0.5, y / scale - 0.5
    padded = np.pad(image, ((1, 1), (1, 1), (0, 0)))
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    result = np.zeros_like(image)
    for row, column in ((top, left), (top, left + 1), (top + 1, left), (top + 1, left + 1)):
        weight = (1 - abs(y - row)) * (1 - abs(x - column))
        inside = padded[(row + 1).clip(0, height + 1), (column + 1).clip(0, width + 1)]
        result += weight[..., None] * inside
    return result


def rotated(image: Array) -> Array:
    height, width = image.shape[:2]
    cosine, sine = np.cos(np.pi / 12), np.sin(np.pi / 12)
    to_middle = np.array([[1, 0, -width / 2], [0, 1, -height / 2], [0, 0, 1]])
    turn = np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]])
    return sampled(image, np.linalg.inv(to_middle) @ turn @ to_middle)


def tilted(image: Array) -> Array:
    right, bottom = image.shape[1] - 1, image.shape[0] - 1
    seen = [(0.2 * right, 0), (0.8 * right, 0), (right, bottom), (0, bottom)]
    taken = [(0, 0), (right, 0), (right, bottom), (0, bottom)]
    equations = []
    for (x, y), (u, v) in zip(seen, taken, strict=True):
        equations += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
    numbers = np.linalg.solve(equations, np.ravel(taken))
    return sampled(image, np.append(numbers, 1).reshape(3, 3))


def down_and_up(image: Array) -> Array:
    channels = []
    for channel in np.moveaxis(image, 2, 0):
        floats = Image.fromarray(channel.astype(np.float32))
        small = floats.resize((16, 16), Image.Resampling.BILINEAR)
        channels.append(np.asarray(small.resize((32, 32), Image.Resampling.BILINEAR)))
    return np.stack(channels, axis=2)


def steepness(image: Array) -> Array:
    luma = image @ (0.2125, 0.7154, 0.0721)
    down = np.outer([1, 0, -1], [1, 2, 1]) / 4
    along, across = (correlated(luma, kernel, "symmetric") for kernel in (down, down.T))
    return np.sqrt((along**2 + across**2) / 2)


def through_pillow(
    function: Callable[[Image.Image], Image.Image],
) -> Callable[[Array], Array]:
    def run(image: Array) -> Array:
        return np.asarray(function(Image.fromarray((255 * image).round().astype(np.uint8)))) / 255

    return run


def encoded_by_opencv(image: Array) -> Array:
    import cv2

    blue_first = (255 * image).round().astype(np.uint8)[..., ::-1]
    _, encoded = cv2.imencode(".jpg", blue_first, [cv2.IMWRITE_JPEG_QUALITY, 20])
    return cv2.imdecode(encoded, cv2.IMREAD_COLOR)[..., ::-1] / 255


def tiles_equalized(image: Array) -> Array:
    """Zuiderveld 1994 on the lightness: mappings of four tiles mixed at each pixel."""
    import cv2

    lab = cv2.cvtColor((255 * image).round().astype(np.uint8), cv2.COLOR_RGB2LAB)
    lightness, limit = lab[..., 0], max(1, int(2.0 * 8 * 8 / 256))
    maps = np.zeros((4, 4, 256))
    for row in range(4):
        for column in range(4):
            tile = lightness[8 * row : 8 * row + 8, 8 * column : 8 * column + 8]
            counts = np.bincount(tile.ravel(), minlength=256)
            excess = int((counts - limit).clip(0).sum())
            counts = counts.clip(max=limit) + excess // 256
            left = excess % 256
            if left:
                step = max(1, 256 // left)
                counts[: left * step : step] += 1
            maps[row, column] = (counts.cumsum() * 255 / 64).round().clip(0, 255)
    place = np.arange(32) / 8 - 0.5
    lower, part = np.floor(place).astype(int), place - np.floor(place)
    mixed = np.zeros((32, 32))
    for down, of_rows in ((0, 1 - part), (1, part)):
        for right, of_columns in ((0, 1 - part), (1, part)):
            rows, columns = ((lower + step).clip(0, 3) for step in (down, right))
            mixed += np.outer(of_rows, of_columns) * maps[rows[:, None], columns, lightness]
    equalized = np.dstack([mixed.round().astype(np.uint8), lab[..., 1:]])
    return cv2.cvtColor(equalized, cv2.COLOR_LAB2RGB) / 255


def diffused(image: Array) -> Array:
    """Floyd and Steinberg 1976, in the whole numbers in which Pillow does it."""
    levels = (255 * image).round().astype(int) @ (299, 587, 114) // 1000
    height, width = levels.shape
    error = np.zeros((height + 1, width + 2), dtype=int)
    black_or_white = np.zeros((height, width))
    for row in range(height):
        for column in range(width):
            carried = int(error[row, column + 1] / 16)  # towards zero
            level = min(255, max(0, int(levels[row, column]) + carried))
            black_or_white[row, column] = level > 128
            left = level - 255 * (level > 128)
            error[row, column + 2] += 7 * left
            error[row + 1, column : column + 3] += np.array([3, 5, 1]) * left
    return black_or_white


EXPECTED: dict[str, tuple[Callable[[Array], Array], float]] = {
    "greyscale": (grey, 1e-6),
    "gamma": (lambda image: grey(image) ** 0.45, 1e-5),
    "sepia": (toned, 1e-6),
    "solarize": (lambda image: np.where(image >= 0.5, 1 - image, image), 1e-6),
    "posterize": (lambda image: (image * 255).round() // 32 * 32 / 255, 1e-6),
    "equalize": (through_pillow(ImageOps.equalize), 1e-6),
    "autocontrast": (
        lambda image: (image - image.min((0, 1))) / (image.max((0, 1)) - image.min((0, 1))),
        1e-6,
    ),
    "clahe": (tiles_equalized, 1.001 / 255),
    "blur": (lambda image: correlated(image, gaussian(1, 2), "reflect"), 1e-6),
    "sharpen": (through_pillow(lambda image: ImageEnhance.Sharpness(image).enhance(3)), 2 / 255),
    "unsharp": (
        lambda image: (2 * image - correlated(image, gaussian(2, 8), "symmetric")).clip(0, 1),
        1e-6,
    ),
    "sobel": (steepness, 1e-6),
    "median": (through_pillow(lambda image: image.filter(ImageFilter.MedianFilter(5))), 1e-6),
    "bilateral": (bilateral, 1.001 / 255),
    "rotate": (rotated, 1e-5),
    "perspective": (tilted, 1e-5),
    "down-up": (down_and_up, 1e-6),
    "jpeg": (encoded_by_opencv, 2 / 255),
    "dither": (diffused, 0),
}
"""For an image (H, W, 3) in [0, 1]: a plain computation or another library, and how near it is."""


def test_what_each_makes_is_computed_here_too_but_the_study_which_has_a_test_of_its_own() -> None:
    assert {*EXPECTED, "study"} == set(PIPELINES)


@pytest.mark.parametrize("name", EVERY_BUT_STUDY)
def test_it_makes_what_a_plain_computation_or_another_library_makes(name: str) -> None:
    if name == "jpeg":  # which OpenCV is to confirm
        pytest.importorskip("cv2")
    (image,) = gradients(32, 32, 1)
    expected, within = EXPECTED[name]
    made = called(name).one(image).permute(1, 2, 0).squeeze(2).double().numpy()
    plain = expected(image.permute(1, 2, 0).double().numpy() / 255)
    assert made.shape == plain.shape
    assert abs(made - plain).max() <= within
