"""Files with VGG16's weights: read without the classifier, and the published ones fetched once into the cache."""

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
from trainables.losses.vgg16 import CONVOLUTIONS

NORMALISATION_KEY = "normalisation"
LARGEST_BYTES = (
    512 * 512 * 9 * 8
)  # a convolution in float64; the classifier's first matrix has 411 MB
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
    """The float32 tensors of the convolutions up to a layer, and the normalisation that the metadata names.

    Raises ValueError for what is no such file, and for missing names, wrong shapes and numbers that are not finite.
    """
    shapes = _shapes(through)
    try:
        tensors, normalisation = (
            _read_safetensors(path, shapes) if _is_safetensors(path) else (_read_dict(path), None)
        )
    except UNREADABLE as error:
        raise ValueError(f"the file can't be read ({_first_line(error)})") from error
    _check(tensors, shapes)
    return {
        name: tensors[name].to(torch.float32, copy=True).contiguous() for name in shapes
    }, normalisation


def fetched(name: str, url: str, *, normalisation: str) -> Path:
    """A file with the convolutions of a published state dict, downloaded on first use, its checksum compared.

    `url` ends with the first digits of the file's SHA-256, as torchvision's do: vgg16-397923af.pth.
    Only the convolutions are kept. Raises OSError when they can't be had.
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
                raise OSError(_first_line(error)) from error
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
    """A header in JSON follows its length, of eight bytes."""
    with path.open("rb") as file:
        return file.read(9)[8:] == b"{"


def _read_safetensors(path: Path, names: Iterable[str]) -> tuple[dict[str, Tensor], str | None]:
    with safe_open(path, framework="pt") as file:
        there = set(file.keys())
        tensors = {name: file.get_tensor(name) for name in names if name in there}
        return tensors, (file.metadata() or {}).get(NORMALISATION_KEY)


def _read_dict(path: Path) -> Any:
    """A state dict whose classifier is not read: in a zip file it is mapped, in an older file skipped."""
    with path.open("rb") as file:
        if file.read(4) == b"PK\x03\x04":
            return torch.load(path, map_location="cpu", mmap=True, weights_only=True)
        file.seek(0)
        return torch.load(_SkippingLargeReads(file), map_location="cpu", weights_only=True)  # type: ignore[arg-type]


class _SkippingLargeReads:
    """A file from whose blocks beyond any convolution's size nothing is read.

    Files of before PyTorch 1.6 (IMAGENET1K_V1 is one) can't be mapped. Where nothing is read into a tensor, the
    system never gives it memory.
    """

    def __init__(self, file: BinaryIO) -> None:
        self.read, self.readline, self.seek, self.tell = (
            file.read,
            file.readline,
            file.seek,
            file.tell,
        )
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


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
