"""Built-in images, for a machine without a network: crops of photographs that wheels carry.

The colour photographs come with scikit-image and scikit-learn; their packages are found, never
imported. Each photograph belongs to one split only, so that no test crop was seen in training.
"""

import math
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image

from trainables.data.cache import Arrays, Form, New, filled_once
from trainables.data.images import SIZE, Images, Pixels, Size
from trainables.errors import UsageError

NAME = "photos"
PHOTOGRAPHS = {
    "train": {
        "astronaut": ("skimage", "data/astronaut.png"),
        "chelsea": ("skimage", "data/chelsea.png"),
        "hubble": ("skimage", "data/hubble_deep_field.jpg"),
        "ihc": ("skimage", "data/ihc.png"),
        "motorcycle": ("skimage", "data/motorcycle_left.png"),
        "rocket": ("skimage", "data/rocket.jpg"),
    },
    "validation": {"coffee": ("skimage", "data/coffee.png")},
    "test": {
        "china": ("sklearn", "datasets/images/china.jpg"),
        "flower": ("sklearn", "datasets/images/flower.jpg"),
    },
}
CROPS = {"train": 30_000, "validation": 3_000, "test": 6_000}
FULL_PIXELS = 64 * 64  # of a crop, up to which there are so many; beyond it so many pixels in all
SCALES = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0)  # pixels of the photograph per pixel of the crop
VERSION = 1  # a change of anything above that changes the crops asks for a new number


def load(size: Size = SIZE) -> Images:
    """Return training, validation and test images, each (N, 3, H, W) uint8.

    They are 39,000 crops, drawn with a fixed seed: the same on every machine with the same wheels.
    Of crops larger than 64 × 64 there are fewer, so that all of them never take more than four
    times the memory of 39,000 × 32 × 32 pixels: 3,184 at 224 × 224.

    Args:
        size: Height and width of a crop.

    Raises:
        UsageError: No photograph of a split is so large, or they are not there.
    """
    counts = counts_at(size)

    def fill(new: New) -> Arrays:
        views = {split: _all_views(split, size) for split in counts}
        arrays = new({split: Form((count, 3, *size)) for split, count in counts.items()})
        for split, crops in arrays.items():
            _crop(crops, views[split], list(PHOTOGRAPHS).index(split))
        return arrays

    key = f"{NAME} {VERSION} {counts} {SCALES} {PHOTOGRAPHS} {size}"
    return Images(source=NAME, note="", **filled_once(f"--data {NAME}", key, counts, fill))


def counts_at(size: Size) -> dict[str, int]:
    """Return how many crops of a size each split has."""
    fewer = min(1.0, FULL_PIXELS / math.prod(size))
    return {split: round(count * fewer) for split, count in CROPS.items()}


def _all_views(split: str, size: Size) -> list[Pixels]:
    views = [view for where in PHOTOGRAPHS[split].values() for view in _views(*where, size)]
    if not views:
        raise UsageError(
            f"--data {NAME}: no photograph for {split} has {size[0]} × {size[1]} pixels; "
            f"give a smaller --image-size, or a directory with images"
        )
    return views


def _crop(crops: Pixels, views: Sequence[Pixels], seed: int) -> None:
    """Fill (N, 3, H, W) with crops, equally many of each view, in random order."""
    random = np.random.default_rng(seed)
    size = crops.shape[2:]
    counts = [len(part) for part in np.array_split(np.arange(len(crops)), len(views))]
    drawn = []
    for view, count in zip(views, counts, strict=True):
        windows = np.lib.stride_tricks.sliding_window_view(view, size, axis=(0, 1))
        rows = random.integers(windows.shape[0], size=count)
        columns = random.integers(windows.shape[1], size=count)
        drawn.append((windows, rows, columns))
    places = np.split(np.argsort(random.permutation(len(crops))), np.cumsum(counts)[:-1])
    for (windows, rows, columns), there in zip(drawn, places, strict=True):
        crops[there] = windows[rows, columns]


def _views(package: str, file: str, size: Size = SIZE) -> list[Pixels]:
    """Scale a package's photograph as far as a crop still fits; each is (height, width, 3) uint8.

    Raises UsageError where the package is not there.
    """
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise UsageError(
            f"--data photos needs {package}'s photographs: pip install scikit-image scikit-learn"
        )
    with Image.open(Path(spec.submodule_search_locations[0]) / file) as image:
        photograph = image.convert("RGB")
    height, width = size
    scaled = [(round(photograph.width / s), round(photograph.height / s)) for s in SCALES]
    return [
        np.asarray(photograph.resize((across, down), Image.Resampling.LANCZOS))
        for across, down in scaled
        if across >= width and down >= height
    ]
