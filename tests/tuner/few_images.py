"""A directory with a few hundred small images, for searches in which the images do not matter."""

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

COUNTS = {"train": 240, "test": 60}  # a tenth of the first validates
STRUCT = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def write_few_images(directory: Path, black: int = 0) -> Path:
    """Write train.parquet and test.parquet: soft colour gradients with a little noise.

    The first `black` of each are black.
    """
    random = np.random.default_rng(0)
    directory.mkdir(parents=True, exist_ok=True)
    for split, count in COUNTS.items():
        rows = [{"bytes": _png(random, number < black), "path": None} for number in range(count)]
        pq.write_table(pa.table({"img": pa.array(rows, STRUCT)}), directory / f"{split}.parquet")
    return directory


def _png(random: np.random.Generator, black: bool) -> bytes:
    corners = Image.fromarray(random.integers(0, 256, (4, 4, 3), dtype=np.uint8))
    smooth = np.asarray(corners.resize((32, 32), Image.Resampling.BICUBIC), dtype=np.int16)
    pixels = np.clip(smooth + random.integers(-8, 9, smooth.shape), 0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels * (not black)).save(buffer, "PNG")
    return buffer.getvalue()
