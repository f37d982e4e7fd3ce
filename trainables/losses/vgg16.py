"""VGG16's convolutions: torchvision's published weights, fetched once, or those of a file, names and shapes checked.

Only the convolutions are ever read: the classifier's 500 MB stay on the disk. PyTorch is imported when weights are
read, so that a command line can be checked before its 2 s have passed.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from trainables.errors import UsageError, first_line

if TYPE_CHECKING:
    from torch import Tensor

CONVOLUTIONS = {
    0: (3, 64),
    2: (64, 64),
    5: (64, 128),
    7: (128, 128),
    10: (128, 256),
    12: (256, 256),
    14: (256, 256),
    17: (256, 512),
    19: (512, 512),
    21: (512, 512),
    24: (512, 512),
    26: (512, 512),
    28: (512, 512),
}
"""Input and output channels of each 3 × 3 convolution, by its index in `torchvision.models.vgg16().features`."""
POOLED = (5, 10, 17, 24)
"""The convolutions that a 2 × 2 maximum pooling comes before."""


@dataclass(frozen=True)
class Normalisation:
    """What is subtracted from the red, green and blue of an image in [0, 1], and what that is divided by."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]


NORMALISATIONS = {
    "imagenet": Normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "features": Normalisation((0.48235, 0.45882, 0.40784), (1 / 255, 1 / 255, 1 / 255)),
}
URLS = {
    "IMAGENET1K_V1": "https://download.pytorch.org/models/vgg16-397923af.pth",
    "IMAGENET1K_FEATURES": "https://download.pytorch.org/models/vgg16_features-amdegroot-88682ab5.pth",
}
"""torchvision's; the name of each file ends with the first digits of its SHA-256."""
PUBLISHED = tuple(URLS)
PUBLISHED_NORMALISATIONS = {"IMAGENET1K_V1": "imagenet", "IMAGENET1K_FEATURES": "features"}


@dataclass(frozen=True, eq=False)
class Vgg16:
    """The convolutions' weights as plain tensors, and how their input is normalised."""

    tensors: dict[
        str, "Tensor"
    ]  # features.N.weight (out, in, 3, 3) and features.N.bias (out,), float32
    normalisation: Normalisation
    name: str
    """What they were asked for as: a published name or a file."""


def load(source: str, *, normalisation: str | None = None, through: int = 28) -> Vgg16:
    """The convolutions up to layer `through` of published weights or of a file.

    A file is safetensors or a state dict that torch.save wrote; its metadata or `normalisation` names one of
    NORMALISATIONS. Raises UsageError for an unknown name, a file that does not fit, and weights that can't be had.
    """
    if through not in CONVOLUTIONS:
        raise ValueError(
            f"through must be one of {', '.join(map(str, CONVOLUTIONS))}, but got {through}"
        )
    if normalisation is not None and normalisation not in NORMALISATIONS:
        names = " or ".join(NORMALISATIONS)
        raise UsageError(
            f"--vgg-normalisation {normalisation}: there is no such normalisation; give {names}"
        )
    check(source)
    if source in PUBLISHED:
        return _load_published(source, normalisation, through)
    return _load_file(source, normalisation, through)


def check(source: str) -> None:
    """Raises UsageError where `source` is neither one of PUBLISHED nor a file."""
    if source not in PUBLISHED and not Path(source).is_file():
        raise UsageError(
            f"--vgg-weights {source}: there is no such file; give a safetensors file, a state dict as torchvision "
            f"publishes it, or one of {', '.join(PUBLISHED)}"
        )


def _load_published(name: str, normalisation: str | None, through: int) -> Vgg16:
    from trainables.losses.vgg16_files import fetched, read

    known = _agreed(name, PUBLISHED_NORMALISATIONS[name], normalisation)
    try:
        path = fetched(name, URLS[name], normalisation=known)
    except OSError as error:
        raise UsageError(
            f"--vgg-weights {name}: it is not in the cache and could not be fetched ({first_line(error)}); download {URLS[name]} "
            f"where there is a network, bring the file here and give --vgg-weights FILE --vgg-normalisation {known}"
        ) from error
    try:
        tensors, _ = read(path, through)
    except ValueError as error:
        raise UsageError(
            f"--vgg-weights {name}: {error}; delete {path.parent} to fetch it again"
        ) from error
    return Vgg16(tensors, NORMALISATIONS[known], name)


def _load_file(source: str, normalisation: str | None, through: int) -> Vgg16:
    from trainables.losses.vgg16_files import read

    try:
        tensors, named = read(Path(source), through)
    except ValueError as error:
        raise UsageError(
            f"--vgg-weights {source}: {error}; give a safetensors file or a state dict of torchvision's vgg16"
        ) from error
    return Vgg16(tensors, NORMALISATIONS[_agreed(source, named, normalisation)], source)


def _agreed(source: str, named: str | None, asked: str | None) -> str:
    """The one normalisation of what the weights say of themselves and what the user says of them."""
    if named is not None and named not in NORMALISATIONS:
        raise UsageError(
            f"--vgg-weights {source}: its metadata names the normalisation {named!r}, which is none of "
            f"{', '.join(NORMALISATIONS)}: write one of them there"
        )
    if named and asked and named != asked:
        raise UsageError(
            f"--vgg-normalisation {asked}: {source} was trained with {named}; leave --vgg-normalisation out"
        )
    if chosen := named or asked:
        return chosen
    raise UsageError(
        f"--vgg-weights {source}: the file does not say how its input is normalised; give --vgg-normalisation "
        f"imagenet (mean 0.485, 0.456, 0.406, deviation 0.229, 0.224, 0.225, as IMAGENET1K_V1 has it) or "
        f"features (mean 0.48235, 0.45882, 0.40784, values up to 255, as IMAGENET1K_FEATURES has it)"
    )
