"""The gallery's pipelines that keep fewer bits: of colours, of frequencies, of everything."""

from functools import partial
from io import BytesIO

from PIL import Image
from torchvision.transforms.v2 import functional

posterize = partial(functional.posterize, bits=3)


def jpeg(image: Image.Image) -> Image.Image:
    """Encode and decode."""
    encoded = BytesIO()
    image.save(encoded, "JPEG", quality=20)
    return Image.open(encoded).convert("RGB")  # which decodes it: to open it does not


def dither(image: Image.Image) -> Image.Image:
    """Make every pixel black or white, and hand its error on to those after it."""
    return image.convert("1", dither=Image.Dither.FLOYDSTEINBERG)
