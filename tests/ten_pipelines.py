"""Ten pipelines as people write them, with the libraries that they write them with.

Each is `tests/ten_pipelines.py:NAME`; TEN has what is to be found out about it.
"""

from dataclasses import dataclass

import kornia
import numpy as np
import torch
from PIL import Image, ImageFilter
from torch import Tensor, nn
from torchvision import transforms
from torchvision.transforms import v2

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.247, 0.2435, 0.2616)


class Sharpened:
    """As Albumentations': an array by its name, a dictionary back."""

    def __call__(self, *, image: np.ndarray) -> dict[str, np.ndarray]:
        blurred = np.asarray(Image.fromarray(image).filter(ImageFilter.BoxBlur(1)))
        wider = 2 * image.astype(np.int16) - blurred
        return {"image": wider.clip(0, 255).astype(np.uint8)}


def edges(image: np.ndarray) -> np.ndarray:
    """A function on arrays: how strongly brightness changes, (H, W) float32."""
    if not isinstance(image, np.ndarray):
        raise TypeError(f"an array is wanted, not {type(image)}")
    down, right = np.gradient(image.mean(axis=2) / 255)
    return np.hypot(down, right).astype(np.float32)


class Brightest(nn.Module):
    """One number of each image: 1 × 1."""

    def forward(self, images: Tensor) -> Tensor:
        return images.mean(dim=-3, keepdim=True).amax(dim=(-2, -1), keepdim=True)


v1 = transforms.Compose(
    [
        transforms.Resize(24),
        transforms.CenterCrop(20),
        transforms.Grayscale(),
        transforms.ToTensor(),
    ]
)
v2_floats = v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Resize((28, 28))])
normalised = transforms.Compose(
    [transforms.CenterCrop(24), transforms.ToTensor(), transforms.Normalize(MEAN, STD)]
)
kornia_sequence = nn.Sequential(
    kornia.filters.GaussianBlur2d((5, 5), (1.0, 1.0)), kornia.enhance.AdjustGamma(0.6)
)
dict_style = Sharpened()
bytes_out = v2.Compose([v2.RandomHorizontalFlip(1.0), v2.RandomInvert(1.0)])
upscaled = transforms.Compose([transforms.Resize(48), transforms.ToTensor()])
one_number = Brightest()


def posterised(image: Image.Image) -> Image.Image:
    """A function on PIL images, colours out."""
    return Image.fromarray(np.asarray(image.convert("RGB")) & 0b11000000)


@dataclass(frozen=True)
class Known:
    """What is known of a pipeline by reading it."""

    takes: str
    output_shape: tuple[int, int, int]
    batched: bool
    affine: bool
    unit: bool = True


TEN = {
    "v1": Known("pil", (1, 20, 20), False, True),
    "v2_floats": Known("pil", (3, 28, 28), False, True),
    "normalised": Known("pil", (3, 24, 24), False, True, unit=False),
    "kornia_sequence": Known("float", (3, 32, 32), True, False),
    "dict_style": Known("dict", (3, 32, 32), False, False),
    "edges": Known("array", (1, 32, 32), False, False),
    "bytes_out": Known("pil", (3, 32, 32), False, True),
    "upscaled": Known("pil", (3, 48, 48), False, True),
    "one_number": Known("float", (1, 1, 1), True, False),
    "posterised": Known("pil", (3, 32, 32), False, False),
}
