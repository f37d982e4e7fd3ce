"""Images from a directory: parquet files, or image files of any size."""

import hashlib
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from trainables.data.cache import decoded_once
from trainables.errors import UsageError

SUFFIXES = {".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}
COLUMNS = ("img", "image")  # the names that Hugging Face's image sets use
TEST_FRACTION = 1 / 6  # as in CIFAR-10


def load(directory: Path) -> tuple[Tensor, Tensor]:
    """Return training and test images of a directory, each (N, 3, 32, 32) uint8.

    They are decoded once and then read from the cache. Raises UsageError where the directory holds
    neither both parquet files nor two image files.
    """
    both = [directory / "train.parquet", directory / "test.parquet"]
    if all(path.is_file() for path in both):
        source = " ".join(hashlib.sha256(path.read_bytes()).hexdigest() for path in both)
        return decoded_once(source, lambda: (_from_parquet(both[0]), _from_parquet(both[1])))
    train, test = _image_files(directory)
    if not train or not test:
        raise UsageError(
            f"--data {directory}: found neither train.parquet and test.parquet "
            f"nor two image files ({', '.join(sorted(SUFFIXES))})"
        )
    stamps = [f"{path} {path.stat().st_size} {path.stat().st_mtime_ns}" for path in train + test]
    return decoded_once("\n".join(stamps), lambda: (_decode(train), _decode(test)))


def _from_parquet(path: Path) -> Tensor:
    return _decode(encoded_images(path), where=str(path))


def encoded_images(path: Path) -> list[bytes]:
    """Read the encoded images of a parquet file, in order. Raises UsageError for another schema."""
    import pyarrow as pa  # here, since other sources do without its 0.5 s
    import pyarrow.parquet as pq

    try:
        names = pq.read_schema(path).names
        column = next((name for name in COLUMNS if name in names), None)
        if column is None:
            raise UsageError(
                f"{path} has the columns {', '.join(names)}: one must be named img or image"
            )
        images = pq.read_table(path, columns=[column])[column].combine_chunks()
    except (pa.ArrowException, OSError) as error:
        raise UsageError(f"{path} can't be read as parquet: {error}") from error
    is_struct = pa.types.is_struct(images.type) and images.type.get_field_index("bytes") >= 0
    if not is_struct or not len(images):
        raise UsageError(
            f"{path}: column {column} must hold a struct with a field `bytes`, one per image"
        )
    # A row without bytes is no image, which whoever decodes it says with its number
    return [encoded or b"" for encoded in images.field("bytes").to_pylist()]


def _image_files(directory: Path) -> tuple[list[Path], list[Path]]:
    """List those under train/ and test/ if both are there; else every sixth, by its hash, tests."""
    files = sorted(path for path in directory.rglob("*") if path.suffix.lower() in SUFFIXES)
    splits = [
        [p for p in files if p.relative_to(directory).parts[0] == part]
        for part in ("train", "test")
    ]
    if all(splits):
        return splits[0], splits[1]
    by_hash = sorted(
        files, key=lambda p: hashlib.sha256(str(p.relative_to(directory)).encode()).digest()
    )
    held_out = round(len(files) * TEST_FRACTION) or 1
    return by_hash[held_out:], by_hash[:held_out]


def _decode(sources: Sequence[Path | bytes], where: str = "") -> Tensor:
    """Decode, scale and crop to 32 × 32: (N, 3, 32, 32) uint8.

    One thread: on small images two threads took twice as long, fighting over the interpreter.
    """
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    shown = track(
        sources, "Decoding images", console=console, transient=True, disable=not console.is_terminal
    )
    images = [_decode_one(source, row, where) for row, source in enumerate(shown)]
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous()


def _decode_one(source: Path | bytes, row: int, where: str) -> np.ndarray:
    try:
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as image:
            rgb = image.convert("RGB")
            if rgb.size != (32, 32):
                rgb = ImageOps.fit(rgb, (32, 32), Image.Resampling.LANCZOS)
            return np.asarray(rgb)
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        name = f"{where}, row {row}" if where else str(source)
        raise UsageError(f"{name} can't be read as an image: {error}") from error
