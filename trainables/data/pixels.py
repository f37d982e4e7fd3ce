"""One encoded image as an image viewer shows it, scaled and cropped to the size that is asked for.

Upright as its tags say, on white where it is transparent, in sRGB, with 8 bits a colour. Of an
animation or of several pages it is the first.
"""

import io
from contextlib import suppress
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageFile, ImageOps, UnidentifiedImageError

from trainables.data.images import Pixels, Size
from trainables.errors import first_line

VERSION = 3  # a change of anything here that changes pixels asks for a new number
SMALLEST_SCALED = 2  # times the size asked for: what JPEG's own scaling may leave for Pillow's
# Those that are looked into, whatever a file's name says: others of Pillow's start programs
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "PPM", "TIFF", "WEBP")
SCALABLE = ("L", "RGB", "CMYK", "LAB")  # modes whose numbers can be averaged
BITS_TAG, PHOTOMETRIC_TAG, WHITE_IS_ZERO = 258, 262, 0  # of TIFF
WHITE_OF_FEW_BITS = {"L;2": 3, "L;4": 15}  # in a PNG
PROFILES_KEPT = 64


class UnreadableError(Exception):
    """What should be an image can't be shown; the text is a few words of why."""


def decode(encoded: bytes, size: Size | None) -> Pixels:
    """Decode an image: (height, width, 3) uint8.

    Raises UnreadableError where it can't be shown.

    Args:
        encoded: A file's content.
        size: What it is scaled and cropped to; its own without it.
    """
    return shown(opened(encoded, size), size)


def opened(encoded: bytes, size: Size | None = None) -> Image.Image:
    """Read an image whole and turn it upright.

    A JPEG is only decoded as large as scaling it to `size` needs: a fourth of the time, and the
    fourth of it that is left is as sharp.
    """
    if not encoded:
        raise UnreadableError("empty")
    try:
        image = Image.open(io.BytesIO(encoded), formats=FORMATS)
        _scale_transparent_colour(image)
        if size is not None:
            side = SMALLEST_SCALED * max(size)  # it may still lie on its side
            image.draft(None, (side, side))
        image.load()
    except UnidentifiedImageError:
        raise UnreadableError("not an image of a known format") from None
    except Exception as error:  # what damaged files make Pillow raise has no class in common
        raise UnreadableError(first_line(error)) from error
    with suppress(Exception):  # tags that can't be read turn nothing, in a viewer neither
        ImageOps.exif_transpose(image, in_place=True)
    return image


def _scale_transparent_colour(image: ImageFile.ImageFile) -> None:
    """Bring a PNG's transparent colour from the file's depth to the 8 bits that Pillow reads."""
    colour = image.info.get("transparency")
    if image.format != "PNG" or colour is None:
        return
    depth = image.tile[0].args
    if depth == "RGB;16B":
        image.info["transparency"] = tuple(part >> 8 for part in colour)
    elif depth in WHITE_OF_FEW_BITS:
        image.info["transparency"] = colour * 255 // WHITE_OF_FEW_BITS[depth]


def shown(image: Image.Image, size: Size | None) -> Pixels:
    """Return an image as it is seen, scaled and cropped to `size`: (height, width, 3) uint8."""
    profile = image.info.get("icc_profile") or b""
    if image.mode == "F" or image.mode.startswith("I"):
        image = _eight_bits(image)
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
    elif image.mode not in SCALABLE:
        image = image.convert("RGB")
    if size is not None:
        image = fitted(image, size)
    if to_srgb := _to_srgb(profile, image.mode):
        image = to_srgb.apply(image)
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))


def fitted(image: Image.Image, size: Size) -> Image.Image:
    """Scale and crop an image to `size`; it stays as it is where it has that."""
    height, width = size
    if image.size == (width, height):
        return image
    return ImageOps.fit(image, (width, height), Image.Resampling.LANCZOS)


def _eight_bits(image: Image.Image) -> Image.Image:
    """Scale grey of 16 bits, or grey in fractions of 1, to 8 bits."""
    return Image.fromarray(np.rint(fractions(image) * 255).astype(np.uint8))


def fractions(image: Image.Image) -> NDArray[np.float32]:
    """Return grey of 16 bits, or grey in fractions of 1, as fractions of 1.

    Raises UnreadableError where nothing says which number is white.
    """
    if image.mode == "I" and image.format != "PPM":
        raise UnreadableError("grey in signed or 32-bit numbers: nothing says which is white")
    tags = getattr(image, "tag_v2", {})
    numbers = np.asarray(image)
    white = 1.0 if image.mode == "F" else 2.0 ** tags.get(BITS_TAG, (16,))[0] - 1
    grey = numbers.astype(np.float32) / np.float32(white)
    if not (grey.min() >= 0 and grey.max() <= 1):
        raise UnreadableError("grey outside 0 to 1: nothing says which is white")
    if tags.get(PHOTOMETRIC_TAG) == WHITE_IS_ZERO:
        grey = 1 - grey
    if "transparency" in image.info:
        grey[numbers == image.info["transparency"]] = 1
    return grey


@lru_cache(PROFILES_KEPT)
def _to_srgb(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """Return what turns an image's colours into sRGB; None where they are taken to be that."""
    try:
        if mode == "LAB":
            given = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
        elif profile:
            given = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        else:
            return None
        return ImageCms.buildTransform(given, ImageCms.createProfile("sRGB"), mode, "RGB")
    except (ImageCms.PyCMSError, OSError):  # it is damaged, or of other colours than the image
        return None
