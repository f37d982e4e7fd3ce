"""One encoded image as an image viewer shows it, scaled and cropped to 32 × 32.

Upright as its tags say, on white where it is transparent, in sRGB, with 8 bits a colour. Of an
animation or of several pages it is the first.
"""

import io
import warnings
from contextlib import suppress
from functools import lru_cache

import numpy as np
from PIL import Image, ImageCms, ImageFile, ImageOps, UnidentifiedImageError

from trainables.data.images import Pixels
from trainables.errors import first_line

VERSION = 2  # a change of anything here that changes pixels asks for a new number
EDGE = 32
# Those that are looked into, whatever a file's name says: others of Pillow's start programs
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "PPM", "TIFF", "WEBP")
SCALABLE = ("L", "RGB", "CMYK", "LAB")  # modes whose numbers can be averaged
BITS_TAG, PHOTOMETRIC_TAG, WHITE_IS_ZERO = 258, 262, 0  # of TIFF
WHITE_OF_FEW_BITS = {"L;2": 3, "L;4": 15}  # in a PNG
PROFILES_KEPT = 64


class UnreadableError(Exception):
    """What should be an image can't be shown; the text is a few words of why."""


def decode(encoded: bytes) -> Pixels:
    """Decode an image: (32, 32, 3) uint8. Raises UnreadableError where it can't be shown."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, of what is taken as it is or refused below
        return _shown(_opened(encoded))


def _opened(encoded: bytes) -> Image.Image:
    """Read an image whole and turn it upright."""
    if not encoded:
        raise UnreadableError("empty")
    try:
        image = Image.open(io.BytesIO(encoded), formats=FORMATS)
        _scale_transparent_colour(image)
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


def _shown(image: Image.Image) -> Pixels:
    profile = image.info.get("icc_profile") or b""
    if image.mode == "F" or image.mode.startswith("I"):
        image = _eight_bits(image)
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
    elif image.mode not in SCALABLE:
        image = image.convert("RGB")
    if image.size != (EDGE, EDGE):
        image = ImageOps.fit(image, (EDGE, EDGE), Image.Resampling.LANCZOS)
    if to_srgb := _to_srgb(profile, image.mode):
        image = to_srgb.apply(image)
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))


def _eight_bits(image: Image.Image) -> Image.Image:
    """Scale grey of 16 bits, or grey in fractions of 1, to 8 bits."""
    if image.mode == "I" and image.format != "PPM":
        raise UnreadableError("grey in signed or 32-bit numbers: nothing says which is white")
    tags = getattr(image, "tag_v2", {})
    numbers = np.asarray(image)
    white = 1.0 if image.mode == "F" else 2.0 ** tags.get(BITS_TAG, (16,))[0] - 1
    grey = numbers / np.float32(white)
    if not (grey.min() >= 0 and grey.max() <= 1):
        raise UnreadableError("grey outside 0 to 1: nothing says which is white")
    if tags.get(PHOTOMETRIC_TAG) == WHITE_IS_ZERO:
        grey = 1 - grey
    if "transparency" in image.info:
        grey[numbers == image.info["transparency"]] = 1
    return Image.fromarray(np.rint(grey * 255).astype(np.uint8))


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
