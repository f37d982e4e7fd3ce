"""Built-in images, for a machine without a network: 32 × 32 crops of photographs that wheels carry.

The colour photographs come with scikit-image and scikit-learn; their packages are found, never
imported. Each photograph belongs to one split only, so that no test crop was seen in training.
"""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image

from trainables.data.cache import decoded_once
from trainables.data.images import Images, Pixels
from trainables.errors import UsageError

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
SCALES = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0)  # pixels of the photograph per pixel of the crop
EDGE = 32
VERSION = 1  # a change of anything above that changes the crops asks for a new number


def load() -> Images:
    """Return training, validation and test images, each (N, 3, 32, 32) uint8.

    They are 39,000 crops, drawn with a fixed seed: the same on every machine with the same wheels.
    """
    return decoded_once(
        "photos",
        f"photos {VERSION} {CROPS} {PHOTOGRAPHS}",
        lambda: {split: _crops(split) for split in CROPS},
    )


def _crops(split: str) -> Pixels:
    """Crop equally often from each photograph and scale; the crops are in random order."""
    random = np.random.default_rng(list(PHOTOGRAPHS).index(split))
    views = [view for where in PHOTOGRAPHS[split].values() for view in _views(*where)]
    counts = [len(part) for part in np.array_split(np.arange(CROPS[split]), len(views))]
    crops = np.concatenate([_draw(view, n, random) for view, n in zip(views, counts, strict=True)])
    return np.ascontiguousarray(random.permutation(crops).transpose(0, 3, 1, 2))


def _views(package: str, file: str) -> list[np.ndarray]:
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
    sizes = [(round(photograph.width / s), round(photograph.height / s)) for s in SCALES]
    return [
        np.asarray(photograph.resize(s, Image.Resampling.LANCZOS)) for s in sizes if min(s) >= EDGE
    ]


def _draw(view: np.ndarray, count: int, random: np.random.Generator) -> np.ndarray:
    windows = np.lib.stride_tricks.sliding_window_view(view, (EDGE, EDGE), axis=(0, 1))
    rows = random.integers(windows.shape[0], size=count)
    columns = random.integers(windows.shape[1], size=count)
    return windows[rows, columns].transpose(0, 2, 3, 1)
