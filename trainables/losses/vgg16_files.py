"""Files with VGG16's weights, read without the classifier; the published are fetched once.

The classifier's 500 MB stay on the disk.
"""

import io
import pickle
from collections.abc import Iterable, Mapping
from http.client import HTTPException
from pathlib import Path
from typing import Any, BinaryIO

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from trainables.data.cache import connect_timeout, new_directory
from trainables.data.cache_dir import cache_directory
from trainables.errors import first_line
from trainables.losses.vgg16 import CONVOLUTIONS

NORMALISATION_KEY = "normalisation"
LARGEST_BYTES = 512 * 512 * 9 * 8
"""Of a convolution in float64; the classifier's first matrix has 411 MB."""
UNREADABLE = (
    RuntimeError,
    OSError,
    EOFError,
    pickle.UnpicklingError,
    SafetensorError,
    ValueError,
    KeyError,
)


def read(path: Path, through: int) -> tuple[dict[str, Tensor], str | None]:
    """Read the convolutions up to the layer `through` as float32 tensors.

    Returns them by name, and the normalisation that the file's metadata names, if any. Raises
    ValueError for what is no such file, missing names, wrong shapes and numbers that are not
    finite.
    """
    shapes = _shapes(through)
    try:
        tensors, normalisation = (
            _read_safetensors(path, shapes) if _is_safetensors(path) else (_read_dict(path), None)
        )
    except UNREADABLE as error:
        raise ValueError(f"the file can't be read ({first_line(error)})") from error
    _check(tensors, shapes)
    copies = {name: tensors[name].to(torch.float32, copy=True).contiguous() for name in shapes}
    return copies, normalisation


def fetched(name: str, url: str, *, normalisation: str) -> Path:
    """Return the file with the convolutions of a published state dict, downloaded on first use.

    Only the convolutions are kept.

    Args:
        name: What the directory in the cache is called.
        url: Ends with the first digits of the file's SHA-256, which is compared:
            vgg16-397923af.pth.
        normalisation: Is written into the file's metadata.

    Raises:
        OSError: They are not in the cache and can't be had.
    """
    directory = cache_directory() / "vgg16" / name
    path = directory / "convolutions.safetensors"
    if path.is_file():
        return path
    with new_directory(directory) as aside, connect_timeout():
        if aside is not None:
            whole = aside / "whole.pth"
            try:
                _download(url, whole)
                tensors, _ = read(whole, max(CONVOLUTIONS))
            except (RuntimeError, HTTPException, ValueError) as error:
                raise OSError(first_line(error)) from error
            whole.unlink()
            save_file(tensors, aside / path.name, {NORMALISATION_KEY: normalisation})
    return path


def _download(url: str, path: Path) -> None:
    digits = Path(url).stem.rpartition("-")[2]
    torch.hub.download_url_to_file(url, str(path), digits)  # shows a progress bar


def _shapes(through: int) -> dict[str, tuple[int, ...]]:
    layers = {layer: channels for layer, channels in CONVOLUTIONS.items() if layer <= through}
    weights = {
        f"features.{layer}.weight": (out, into, 3, 3) for layer, (into, out) in layers.items()
    }
    return weights | {f"features.{layer}.bias": (out,) for layer, (_, out) in layers.items()}


def _is_safetensors(path: Path) -> bool:
    """Tell by the JSON header, which follows eight bytes with its length."""
    with path.open("rb") as file:
        return file.read(9)[8:] == b"{"


def _read_safetensors(path: Path, names: Iterable[str]) -> tuple[dict[str, Tensor], str | None]:
    with safe_open(path, framework="pt") as file:
        there = set(file.keys())
        tensors = {name: file.get_tensor(name) for name in names if name in there}
        return tensors, (file.metadata() or {}).get(NORMALISATION_KEY)


def _read_dict(path: Path) -> Any:
    """Read a state dict; its classifier is mapped in a zip file, skipped in an older one."""
    with path.open("rb") as file:
        if file.read(4) == b"PK\x03\x04":
            return torch.load(path, map_location="cpu", mmap=True, weights_only=True)
        file.seek(0)
        small: Any = _SkippingLargeReads(file)
        return torch.load(small, map_location="cpu", weights_only=True)


class _SkippingLargeReads:
    """A file from which no block is read that is larger than any convolution.

    Files of before PyTorch 1.6 (IMAGENET1K_V1 is one) can't be mapped. Where nothing is read into a
    tensor, the system never gives it memory.
    """

    def __init__(self, file: BinaryIO) -> None:
        self.read, self.readline = file.read, file.readline
        self.seek, self.tell = file.seek, file.tell
        self._file = file

    def readinto(self, buffer: memoryview) -> int:
        if buffer.nbytes <= LARGEST_BYTES:
            return self._file.readinto(buffer)  # type: ignore[attr-defined, no-any-return]
        self._file.seek(buffer.nbytes, io.SEEK_CUR)
        return buffer.nbytes


def _check(tensors: object, shapes: Mapping[str, tuple[int, ...]]) -> None:
    if not isinstance(tensors, Mapping):
        raise ValueError(f"it holds a {type(tensors).__name__} instead of tensors by name")
    missing = [name for name in shapes if not isinstance(tensors.get(name), Tensor)]
    if missing:
        raise ValueError(
            f"it has no tensor {missing[0]} (of {len(shapes)}, {len(missing)} are missing)"
        )
    for name, shape in shapes.items():
        if tuple(tensors[name].shape) != shape:
            raise ValueError(
                f"{name} must have the shape {shape}, but has {tuple(tensors[name].shape)}"
            )
        if not (tensors[name].is_floating_point() and tensors[name].isfinite().all()):
            raise ValueError(f"{name} must hold finite floating-point numbers")
