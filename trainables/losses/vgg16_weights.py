"""`load`: VGG16's convolutions from torchvision's published weights, or from a file.

The classifier's 500 MB stay on the disk.
"""

import io
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from trainables.data.cache import cache_directory, new_directory
from trainables.errors import UsageError, first_line
from trainables.losses.loss_settings import (
    CONVOLUTIONS,
    NORMALISATIONS,
    PUBLISHED,
    URLS,
    Normalisation,
    check_weights,
)

NORMALISATION_KEY = "normalisation"
ZIP = b"PK\x03\x04"
# Of a convolution in float64; the classifier's first matrix has 411 MB
LARGEST_BYTES = 512 * 512 * 9 * 8


@dataclass(frozen=True, eq=False)
class Vgg16:
    """The convolutions' weights as plain tensors, and how their input is normalised.

    Attributes:
        tensors: float32: features.N.weight (out, in, 3, 3) and features.N.bias (out,) of
            convolution N.
        name: A published name, or the file that the weights come from.
    """

    tensors: dict[str, Tensor]
    normalisation: Normalisation
    name: str


def load(source: str, *, normalisation: str | None = None, through: int = 28) -> Vgg16:
    """Load the convolutions up to layer `through`.

    Args:
        source: One of PUBLISHED, fetched on first use, or a file: safetensors, or a state dict that
            torch.save wrote.
        normalisation: One of NORMALISATIONS; needed for a file whose metadata names none.
        through: A key of CONVOLUTIONS.

    Raises:
        UsageError: The name is unknown, the file does not fit, or the weights can't be had.
    """
    check_weights(source)
    path, cure = Path(source), "give a safetensors file or a state dict of torchvision's vgg16"
    if source in PUBLISHED:
        normalisation = _agreed(source, PUBLISHED[source], normalisation)
        path = _published(source, normalisation)
        cure = f"delete {path.parent} to fetch it again"
    try:
        tensors, named = read(path, through)
    except ValueError as error:
        raise UsageError(f"--vgg-weights {source}: {error}; {cure}") from error
    return Vgg16(tensors, NORMALISATIONS[_agreed(source, named, normalisation)], source)


def _agreed(source: str, named: str | None, asked: str | None) -> str:
    """Return the normalisation that the weights name for themselves, or that the person asked for.

    Raises UsageError where neither is there, or they differ.
    """
    if named is not None and named not in NORMALISATIONS:
        raise UsageError(
            f"--vgg-weights {source}: its metadata names the normalisation {named!r}, which is "
            f"none of {', '.join(NORMALISATIONS)}: write one of them there"
        )
    if named and asked and named != asked:
        raise UsageError(
            f"--vgg-normalisation {asked}: {source} was trained with {named}; "
            f"leave --vgg-normalisation out"
        )
    if chosen := named or asked:
        return chosen
    raise UsageError(
        f"--vgg-weights {source}: the file does not say how its input is normalised; "
        f"give --vgg-normalisation imagenet (mean 0.485, 0.456, 0.406, "
        f"deviation 0.229, 0.224, 0.225, as IMAGENET1K_V1 has it) or features "
        f"(mean 0.48235, 0.45882, 0.40784, values up to 255, as IMAGENET1K_FEATURES has it)"
    )


def read(path: Path, through: int) -> tuple[dict[str, Tensor], str | None]:
    """Read the convolutions up to the layer `through` as float32 tensors.

    Returns them by name, and the normalisation that the file's metadata names, if any. Raises
    ValueError for what is no such file, missing names, wrong shapes and numbers that are not
    finite.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for layer, (into, out) in CONVOLUTIONS.items():
        if layer <= through:
            shapes[f"features.{layer}.weight"] = (out, into, 3, 3)
            shapes[f"features.{layer}.bias"] = (out,)
    normalisation = None
    try:
        with (
            _SkippingLargeReads(io.FileIO(path)) as file,
            warnings.catch_warnings(action="ignore"),  # PyTorch's, of what is no file of its own
        ):
            start = file.peek(9)
            if start[8:9] == b"{":  # a JSON header, which follows eight bytes with its length
                tensors, normalisation = _read_safetensors(path, shapes)
            elif start.startswith(ZIP):
                tensors = torch.load(path, map_location="cpu", mmap=True, weights_only=True)
            else:
                tensors = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # PyTorch's readers raise whatever bytes that are no weights lead to
        raise ValueError(f"the file can't be read ({first_line(error)})") from error
    _check(tensors, shapes)
    copies = {name: tensors[name].to(torch.float32, copy=True).contiguous() for name in shapes}
    return copies, normalisation


def _published(name: str, normalisation: str) -> Path:
    """Return the file with the convolutions of a published state dict, downloaded on first use.

    Only the convolutions are kept, and in the metadata their normalisation. Raises UsageError where
    they are not in the cache and can't be had.
    """
    directory = cache_directory() / "vgg16" / name
    path = directory / "convolutions.safetensors"
    if path.is_file():
        return path
    url = URLS[name]
    digits = Path(url).stem.rpartition("-")[2]
    try:
        with new_directory(directory) as aside:
            if aside is not None:
                whole = aside / "whole.pth"
                torch.hub.download_url_to_file(url, str(whole), digits)  # shows a progress bar
                tensors, _ = read(whole, max(CONVOLUTIONS))
                whole.unlink()
                save_file(tensors, aside / path.name, {NORMALISATION_KEY: normalisation})
    except (OSError, RuntimeError, HTTPException, ValueError) as error:
        raise UsageError(
            f"--vgg-weights {name}: it is not in the cache and could not be fetched "
            f"({first_line(error)}); download {url} where there is a network, bring the "
            f"file here and give --vgg-weights FILE --vgg-normalisation {normalisation}"
        ) from error
    return path


def _read_safetensors(path: Path, names: Iterable[str]) -> tuple[dict[str, Tensor], str | None]:
    with safe_open(path, framework="pt") as file:
        there = set(file.keys())
        tensors = {name: file.get_tensor(name) for name in names if name in there}
        return tensors, (file.metadata() or {}).get(NORMALISATION_KEY)


class _SkippingLargeReads(io.BufferedReader):
    """A file from which PyTorch reads no block that is larger than any convolution.

    Files of before PyTorch 1.6 (IMAGENET1K_V1 is one) can't be mapped. Where nothing is read into a
    tensor, the system never gives it memory.
    """

    def fileno(self) -> int:
        raise io.UnsupportedOperation  # or PyTorch would read past this object

    def readinto(self, buffer: Any) -> int:
        if buffer.nbytes <= LARGEST_BYTES:
            return super().readinto(buffer)
        self.seek(buffer.nbytes, io.SEEK_CUR)
        return int(buffer.nbytes)


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
        is_plain = tensors[name].layout is torch.strided and tensors[name].device.type == "cpu"
        if not (is_plain and tensors[name].is_floating_point() and tensors[name].isfinite().all()):
            raise ValueError(f"{name} must hold finite floating-point numbers")


def random_vgg16() -> Vgg16:
    """Make weights under which activations neither grow nor fade (He et al. 2015)."""
    tensors = {}
    for layer, (into, out) in CONVOLUTIONS.items():
        tensors[f"features.{layer}.weight"] = torch.randn(out, into, 3, 3) * (2 / (9 * into)) ** 0.5
        tensors[f"features.{layer}.bias"] = torch.zeros(out)
    return Vgg16(tensors, NORMALISATIONS["imagenet"], "random")
