"""What may be typed after `--data`, and the images that are there.

Without PyTorch, whose import takes 2 s: what is wrong with images is told before that.
"""

import os
from dataclasses import replace
from pathlib import Path

from trainables.data.images import SIZE as SIZE
from trainables.data.images import Images, Size
from trainables.errors import UsageError, first_line
from trainables.own_process import Say

SOURCES = ("auto", "cifar10", "photos")


def read(source: str, size: Size = SIZE, progress: Say | None = None) -> Images:
    """Read the images of a source.

    Args:
        source: `cifar10`; `photos`; `auto`, which is CIFAR-10 where it can be had and else photos;
            or a directory with parquet or image files.
        size: Height and width, which images are scaled and cropped to.
        progress: Gets lines of what is left, where it takes longer than a second.

    Raises:
        UsageError: There is no such source, nothing to read in it, or something that can't be read.
    """
    from trainables.data import cifar10, folders, photos  # here, since --help needs no decoders

    if source == "photos":
        return photos.load(size)
    if source not in SOURCES:
        return folders.read(_directory(source), size, progress)
    try:
        return cifar10.load(size, progress)
    except OSError as error:
        reason = first_line(error)
        if source == "cifar10":
            raise UsageError(
                f"--data cifar10: {reason}; give --data photos, or a directory with images"
            ) from error
    why = f"CIFAR-10 is not in the cache and could not be fetched ({reason})"
    return replace(photos.load(size), note=f"{why}: using the built-in photographs")


def _directory(source: str) -> Path:
    if not os.path.isdir(source):
        is_file = os.path.isfile(source)
        raise UsageError(
            f"--data {source}: {'that is a file' if is_file else 'there is no such directory'}; "
            f"give a directory with images, or one of {', '.join(SOURCES)}"
        )
    try:
        source.encode()
    except UnicodeEncodeError as error:
        raise UsageError(
            f"--data {source}: the tables can't keep a name that is not UTF-8; "
            f"give a link to that directory that has another"
        ) from error
    return Path(source)
