"""The gallery's pipelines that keep fewer bits: of colours, of frequencies, of everything."""

from io import BytesIO

from PIL import Image
from torchvision.transforms import v2

posterize = v2.RandomPosterize(bits=3, p=1)


def jpeg(image: Image.Image) -> Image.Image:
    """Encode and decode."""
    encoded = BytesIO()
    image.save(encoded, "JPEG", quality=20)
    return Image.open(encoded).convert("RGB")  # which decodes it: to open it does not


def dither(image: Image.Image) -> Image.Image:
    """Make every pixel black or white, and hand its error on to those after it."""
    return image.convert("1", dither=Image.Dither.FLOYDSTEINBERG)
