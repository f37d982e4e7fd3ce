"""Images from a directory: each decoded once, to its place in the cache."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from trainables.data import image_files, parquet_rows
from trainables.data.cache import Arrays, Form, New, filled_once
from trainables.data.decoding import Job, decode_all
from trainables.data.folder_contents import PARQUET, Found, find, suffix
from trainables.data.images import SIZE, Images, Pixels, Size
from trainables.data.parquet_rows import Encoded
from trainables.data.pixels import VERSION, decode
from trainables.data.places import Place, counts_by_split, places, splits_after
from trainables.errors import UsageError, printable
from trainables.own_process import Say


def read(directory: Path, size: Size = SIZE, progress: Say | None = None) -> Images:
    """Return the images of a directory, decoded once and then read from the cache.

    Args:
        directory: Where they are.
        size: Height and width, which they are scaled and cropped to.
        progress: Gets lines of what is left, where it takes longer than a second.

    Raises:
        UsageError: There are too few, or some can't be read.
    """
    try:
        found = find(directory)
    except OSError as error:
        closed = printable(str(error.filename))
        raise UsageError(
            f"--data {directory}: {closed} can't be read ({error.strerror}): "
            f"make it readable, or give another directory"
        ) from error
    files = sorted(found.images.union(*found.splits.values()))
    key = [f"directory {VERSION} {str(directory.resolve())!r} {found.splits} {size}"]
    key += [f"{file!r} {image_files.stamp(directory / file)}" for file in files]
    arrays = filled_once(
        f"--data {directory}",
        "\n".join(key),
        splits_after(found.splits),
        partial(_decode, found, size, progress),
    )
    return Images(source=str(directory), note=found.note, **arrays)


def _decode(found: Found, size: Size, progress: Say | None, new: New) -> Arrays:
    """Decode every image to its place: (N, 3, H, W) uint8 of each split.

    Raises UsageError for what can't be read.
    """
    names = {split: list(_names(found, files)) for split, files in found.splits.items()}
    counts = counts_by_split(names)
    arrays = new({split: Form((count, 3, *size)) for split, count in counts.items()})

    def jobs() -> Iterator[Job[Place | None, Pixels]]:
        for split, files in found.splits.items():
            where = places(names, split)
            for name, encoded in _encoded(found, files):
                yield next(where, None), name, partial(_decoded, encoded, size)

    total = sum(counts.values())
    for place, pixels in decode_all(f"--data {found.directory}", jobs(), total, progress):
        if place is not None:  # else there are more than their files say, which is told at the end
            split, number = place
            arrays[split][number] = pixels.transpose(2, 0, 1)
    return arrays


def _decoded(encoded: Encoded, size: Size) -> Pixels:
    return decode(encoded(), size)


def _names(found: Found, files: Sequence[str]) -> Iterator[str]:
    """Yield what `_encoded` calls the images, where all can be read."""
    for file in files:
        if suffix(file) == PARQUET:
            rows = range(parquet_rows.count(found.directory / file))
            yield from (parquet_rows.row_name(file, row) for row in rows)
        else:
            yield file


def _encoded(found: Found, files: Sequence[str]) -> Iterator[tuple[str, Encoded]]:
    for file in files:
        if suffix(file) == PARQUET:
            yield from parquet_rows.rows(found.directory, file, found.images)
        else:
            yield file, partial(image_files.read, found.directory / file)
