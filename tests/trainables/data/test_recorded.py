"""Inputs are what a viewer shows; targets are the numbers that were recorded."""

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.trainables.data.test_pixels import encoded, png
from trainables.data import recorded
from trainables.data.pixels import UnreadableError

RANDOM = np.random.default_rng(0)
COLOURS = RANDOM.integers(0, 256, (6, 5, 3), dtype=np.uint8)
NOT_FINITE = np.array([[0.0, np.nan]], np.float32)


def npy(array: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (encoded(Image.fromarray(COLOURS)), COLOURS.transpose(2, 0, 1)),
        (encoded(Image.fromarray(COLOURS[:, :, 0])), COLOURS[None, :, :, 0]),
        (encoded(Image.fromarray(COLOURS[:, :, :2], "LA")), COLOURS[:, :, :2].transpose(2, 0, 1)),
        (
            encoded(Image.new("RGBA", (5, 6), (9, 8, 7, 60))),
            np.broadcast_to(np.array([9, 8, 7, 60], np.uint8)[:, None, None], (4, 6, 5)),
        ),
        (encoded(Image.new("1", (5, 6), 1)), np.full((1, 6, 5), 255, np.uint8)),
        (
            encoded(Image.new("RGB", (5, 6), (200, 0, 0)).quantize(2)),
            np.broadcast_to(np.array([200, 0, 0], np.uint8)[:, None, None], (3, 6, 5)),
        ),
        (npy(COLOURS), COLOURS.transpose(2, 0, 1)),
    ],
    ids=["RGB", "L", "LA", "RGBA", "1 bit", "palette", "array"],
)
def test_bytes_of_a_target_stay_as_they_are(content: bytes, expected: np.ndarray) -> None:
    made = recorded.target(content)
    assert made.dtype == np.uint8
    assert np.array_equal(made, expected)


@pytest.mark.parametrize(
    "content",
    [
        encoded(Image.fromarray(np.full((6, 5), 13_107, np.uint16))),
        encoded(Image.fromarray(np.full((6, 5), 13_107, np.uint16)), "TIFF"),
        npy(np.full((6, 5), 13_107, np.uint16)),
        npy(np.full((6, 5), 0.2, np.float64)),
        npy(np.full((6, 5, 1), 0.2, ">f4")),
        encoded(Image.fromarray(np.full((6, 5), 0.2, np.float32)), "TIFF"),
    ],
    ids=["PNG", "TIFF", "array of 16 bits", "float64", "other byte order", "float TIFF"],
)
def test_what_is_finer_than_bytes_becomes_float32(content: bytes) -> None:
    made = recorded.target(content)
    assert made.dtype == np.float32
    assert made.shape == (1, 6, 5)
    assert np.allclose(made, 0.2)


def test_numbers_outside_0_to_1_are_kept() -> None:
    heights = np.linspace(-3, 900, 30, dtype=np.float32).reshape(6, 5)
    for content in (npy(heights), encoded(Image.fromarray(heights), "TIFF")):
        assert np.array_equal(recorded.target(content)[0], heights)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((6, 5), (1, 6, 5)),
        ((6, 5, 3), (3, 6, 5)),
        ((3, 6, 5), (3, 6, 5)),
        ((16, 28, 28), (16, 28, 28)),
        ((2, 2, 2), (2, 2, 2)),
    ],
)
def test_channels_are_found_in_either_place(
    shape: tuple[int, ...], expected: tuple[int, ...]
) -> None:
    numbers = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    made = recorded.target(npy(numbers))
    assert made.shape == expected
    assert made[0, 0, 1] == (numbers[0, 1, 0] if shape[-1] <= 4 and len(shape) == 3 else 1)


def test_a_target_is_upright_as_its_input_is() -> None:
    tags = Image.Exif()
    tags[274] = 6
    content = encoded(Image.fromarray(COLOURS), exif=tags)
    assert np.array_equal(recorded.target(content), np.rot90(COLOURS, -1).transpose(2, 0, 1))
    assert np.array_equal(recorded.image(content, None), recorded.target(content))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (png(16, 2, bytes(192)), "more than 8 bits a colour: only .npy"),
        (npy(NOT_FINITE), "not finite"),
        (npy(np.zeros((2, 3, 4, 5))), "an array 2 × 3 × 4 × 5 of float64, which is no image"),
        (npy(np.zeros((2, 0))), "an array 2 × 0"),
        (npy(np.zeros((4, 4), complex)), "of complex128, which is no image"),
        (npy(np.array([[{}]])), "allow_pickle"),
        (npy(COLOURS)[:-9], "."),
        (b"text", "not an image of a known format"),
    ],
)
def test_what_is_no_target_is_refused_in_a_few_words(content: bytes, reason: str) -> None:
    with pytest.raises(UnreadableError, match=reason) as error:
        recorded.target(content)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "array",
    [
        COLOURS,
        COLOURS.transpose(2, 0, 1),
        COLOURS / 255,
        COLOURS.astype(np.uint16) * 257,
    ],
    ids=["rows", "channels first", "fractions", "16 bits"],
)
def test_an_input_may_be_an_array_too(array: np.ndarray) -> None:
    assert np.array_equal(recorded.image(npy(array), None), COLOURS.transpose(2, 0, 1))


def test_an_input_is_scaled_and_grey_becomes_three_colours() -> None:
    made = recorded.image(npy(np.full((40, 50), 77, np.uint8)), (8, 12))
    assert np.array_equal(made, np.full((3, 8, 12), 77, np.uint8))


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (np.full((4, 4), 255.0), "numbers outside 0 to 1: nothing says which is white"),
        (np.zeros((9, 8, 8)), "9 channels, where an input has up to 4"),
    ],
)
def test_an_array_that_is_no_picture_is_no_input(array: np.ndarray, reason: str) -> None:
    with pytest.raises(UnreadableError, match=reason):
        recorded.image(npy(array), None)
