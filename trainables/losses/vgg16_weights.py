"""`load`: VGG16's convolutions from torchvision's published weights, or from a file."""

from pathlib import Path

from trainables.errors import UsageError, first_line
from trainables.losses.vgg16 import (
    CONVOLUTIONS,
    NORMALISATIONS,
    PUBLISHED,
    PUBLISHED_NORMALISATIONS,
    URLS,
    Vgg16,
    check,
)
from trainables.losses.vgg16_files import fetched, read


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
    if through not in CONVOLUTIONS:
        raise ValueError(
            f"through must be one of {', '.join(map(str, CONVOLUTIONS))}, but got {through}"
        )
    if normalisation is not None and normalisation not in NORMALISATIONS:
        raise UsageError(
            f"--vgg-normalisation {normalisation}: there is no such normalisation; "
            f"give {' or '.join(NORMALISATIONS)}"
        )
    check(source)
    path, cure = Path(source), "give a safetensors file or a state dict of torchvision's vgg16"
    if source in PUBLISHED:
        normalisation = _agreed(source, PUBLISHED_NORMALISATIONS[source], normalisation)
        path = _published(source, normalisation)
        cure = f"delete {path.parent} to fetch it again"
    try:
        tensors, named = read(path, through)
    except ValueError as error:
        raise UsageError(f"--vgg-weights {source}: {error}; {cure}") from error
    return Vgg16(tensors, NORMALISATIONS[_agreed(source, named, normalisation)], source)


def _published(name: str, normalisation: str) -> Path:
    """Return the file with published weights. Raises UsageError where they can't be had."""
    try:
        return fetched(name, URLS[name], normalisation=normalisation)
    except OSError as error:
        raise UsageError(
            f"--vgg-weights {name}: it is not in the cache and could not be fetched "
            f"({first_line(error)}); download {URLS[name]} where there is a network, bring the "
            f"file here and give --vgg-weights FILE --vgg-normalisation {normalisation}"
        ) from error


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
