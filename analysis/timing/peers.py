"""The reference pipeline's four steps in OpenCV, Pillow and Kornia (the extra `peers`).

None computes exactly the same: OpenCV and Kornia sample differently, Pillow rounds to bytes. How
far each is from the reference is measured before it is timed.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from analysis.timing.runner import Runner
from analysis.timing.subjects import Subject
from trainables.pipelines.study import TARGET_SHAPE, as_float

SIZE = (TARGET_SHAPE[2], TARGET_SHAPE[1])  # width first, as both libraries want it


def _rows_of_pixels(images: Tensor) -> np.ndarray:
    """(1, 3, 32, 32) → (32, 32, 3), the layout of these libraries."""
    pixels: np.ndarray = images[0].permute(1, 2, 0).contiguous().numpy()
    return pixels


def _grey_bytes(pixels: np.ndarray) -> Tensor:
    return as_float(torch.from_numpy(pixels))[None, None]


def _opencv(_: Subject) -> Runner:
    import cv2

    cv2.setNumThreads(torch.get_num_threads())

    def run(pixels: np.ndarray) -> np.ndarray:
        small = cv2.resize(
            pixels, SIZE, interpolation=cv2.INTER_AREA
        )  # nearest to an antialiased resize
        return cv2.flip(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), -1)

    return Runner(layout=_rows_of_pixels, run=run, finish=_grey_bytes)


def _pillow(_: Subject) -> Runner:
    from PIL import Image, ImageOps

    def run(image: Image.Image) -> Image.Image:
        small = image.resize(SIZE, Image.Resampling.BILINEAR)
        return ImageOps.flip(ImageOps.mirror(small.convert("L")))

    return Runner(
        layout=_rows_of_pixels,
        prepare=Image.fromarray,
        run=run,
        finish=lambda image: _grey_bytes(np.array(image)),
    )


def _kornia(subject: Subject) -> Runner:
    from kornia.color import rgb_to_grayscale
    from kornia.geometry.transform import hflip, resize, vflip

    device = torch.device(subject.device)

    def run(images: Tensor) -> Tensor:
        small = resize(
            images, TARGET_SHAPE[1:], interpolation="bilinear", align_corners=False, antialias=True
        )
        flipped: Tensor = vflip(hflip(rgb_to_grayscale(small)))
        return flipped

    return Runner(prepare=lambda images: as_float(images.to(device)), run=run)


ENGINES: dict[str, Callable[[Subject], Runner]] = {
    "OpenCV": _opencv,
    "Pillow": _pillow,
    "Kornia": _kornia,
}
