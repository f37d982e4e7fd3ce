"""One input or one target of recorded pairs: an encoded image, or an array as NumPy saves it."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from trainables.data import pixels
from trainables.data.images import Pixels, Size
from trainables.data.pixels import BITS_TAG, UnreadableError, fractions, opened
from trainables.errors import first_line
from trainables.tasks import shape_text

NUMPY_MAGIC = b"\x93NUMPY"
MOST_CHANNELS = 4  # what has more in its last dimension has its channels in the first
PNG_DEPTH = 24  # where a PNG file has its bits a colour
KEPT_MODES = ("L", "LA", "RGB", "RGBA")  # of 8 bits

Target = NDArray[np.uint8] | NDArray[np.float32]


def image(encoded: bytes, size: Size | None) -> Pixels:
    """Read an input as it is seen, scaled and cropped to `size`: (3, height, width) uint8.

    Raises UnreadableError where it can't be shown.

    Args:
        encoded: A file's content. Arrays are (H, W), (H, W, C) or (C, H, W): bytes, 16 bits, or
            fractions of 1.
        size: Height and width; its own without it.
    """
    if encoded.startswith(NUMPY_MAGIC):
        shown = pixels.shown(_as_image(_array(encoded)), size)
    else:
        shown = pixels.decode(encoded, size)
    return shown.transpose(2, 0, 1)


def target(encoded: bytes) -> Target:
    """Read a target as it is: (c, h, w).

    Bytes stay bytes. 16 bits become fractions of 1, other numbers float32. Images are upright as
    their tags say; transparency is a channel like the colours.

    Raises UnreadableError for what is no image, has numbers that are not finite, or more than 8
    bits for each of three colours, which Pillow can't read.
    """
    if encoded.startswith(NUMPY_MAGIC):
        return _as_target(_array(encoded))
    found = opened(encoded)
    if _has_deep_colours(found, encoded):
        raise UnreadableError("more than 8 bits a colour: only .npy is read with all of them")
    if found.mode == "F":
        return _as_target(np.asarray(found)[None])
    if found.mode.startswith("I"):
        return fractions(found).astype(np.float32)[None]
    if found.mode not in KEPT_MODES:
        found = found.convert("RGBA" if found.has_transparency_data else _plain(found.mode))
    numbers = np.asarray(found)
    return numbers[None] if numbers.ndim == 2 else numbers.transpose(2, 0, 1)


def _has_deep_colours(found: Image.Image, encoded: bytes) -> bool:
    """Tell whether Pillow cut colours to 8 bits as it read them."""
    bits = getattr(found, "tag_v2", {}).get(BITS_TAG, (8,))
    if found.format == "PNG":
        bits = (encoded[PNG_DEPTH],)
    return max(bits) > 8 and found.mode in KEPT_MODES


def _plain(mode: str) -> str:
    return "L" if mode == "1" else "RGB"


def _array(encoded: bytes) -> NDArray[np.generic]:
    """Read an array, channels first: (c, h, w)."""
    try:
        numbers: NDArray[np.generic] = np.load(io.BytesIO(encoded), allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise UnreadableError(first_line(error)) from error
    if numbers.dtype.kind not in "buif" or numbers.ndim not in (2, 3) or not numbers.size:
        shape = shape_text(numbers.shape)
        raise UnreadableError(f"an array {shape} of {numbers.dtype}, which is no image")
    if numbers.ndim == 2:
        return numbers[None]
    return numbers.transpose(2, 0, 1) if numbers.shape[2] <= MOST_CHANNELS else numbers


def _as_target(numbers: NDArray[np.generic]) -> Target:
    if numbers.dtype == np.uint8:
        return numbers.astype(np.uint8)
    if numbers.dtype == np.uint16:
        return numbers.astype(np.float32) / np.float32(65_535)
    floats = numbers.astype(np.float32)
    if not np.isfinite(floats).all():
        raise UnreadableError("numbers that are not finite")
    return floats


def _as_image(numbers: NDArray[np.generic]) -> Image.Image:
    """Return an input's array (c, h, w) as an image of 8 bits."""
    grey = _as_target(numbers)
    if grey.dtype != np.uint8:
        if not (grey.min() >= 0 and grey.max() <= 1):
            raise UnreadableError("numbers outside 0 to 1: nothing says which is white")
        grey = np.rint(grey * 255).astype(np.uint8)
    if len(grey) > MOST_CHANNELS:
        raise UnreadableError(f"{len(grey)} channels, where an input has up to {MOST_CHANNELS}")
    rows = np.ascontiguousarray(grey.transpose(1, 2, 0))
    return Image.fromarray(rows[:, :, 0] if len(grey) == 1 else rows)
