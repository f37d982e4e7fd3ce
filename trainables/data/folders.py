"""Images from a directory: each decoded once, and all that can't be read told together."""

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from trainables.data import image_files, parquet_rows
from trainables.data.cache import decoded_once
from trainables.data.folder_contents import PARQUET, Found, find, suffix
from trainables.data.images import Images, Pixels
from trainables.data.parquet_rows import Encoded
from trainables.data.pixels import EDGE, VERSION, UnreadableError, decode
from trainables.data.split_names import TEST, TRAIN
from trainables.errors import UsageError, first_line, printable

TEST_FRACTION = 1 / 6  # as in CIFAR-10
NAMED = 10  # of the images that can't be read


def read(directory: Path) -> Images:
    """Return the images of a directory, decoded once and then read from the cache.

    Raises UsageError where there are too few, and where some can't be read.
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
    key = [f"directory {VERSION} {str(directory.resolve())!r} {found.splits}"]
    key += [f"{file!r} {image_files.stamp(directory / file)}" for file in files]
    images = decoded_once(str(directory), "\n".join(key), lambda: _decoded(found))
    return replace(images, note=found.note)


def _decoded(found: Found) -> dict[str, Pixels]:
    """Decode every split: (N, 3, 32, 32) uint8 each. Raises UsageError for what can't be read."""
    bad: list[str] = []
    names, splits = {}, {}
    for split, files in found.splits.items():
        names[split], splits[split] = _decode(found, files, bad)
    if bad:
        count = len(bad) + sum(map(len, names.values()))
        more = f" and {len(bad) - NAMED:,} more" if len(bad) > NAMED else ""
        raise UsageError(
            f"--data {found.directory}: {len(bad):,} of {count:,} images can't be read: "
            f"{', '.join(bad[:NAMED])}{more}: mend them or take them away"
        )
    if splits.keys() != {TRAIN, TEST}:
        splits = {split: _by_hash(images, names[split]) for split, images in splits.items()}
    if TEST not in splits:
        held_out = round(len(splits[TRAIN]) * TEST_FRACTION) or 1
        splits[TEST], splits[TRAIN] = splits[TRAIN][:held_out], splits[TRAIN][held_out:]
    return splits


def _by_hash(images: Pixels, names: Sequence[str]) -> Pixels:
    """Shuffle images, each to where its name alone puts it: any first ones are a fair sample."""
    digests = [hashlib.sha256(os.fsencode(name)).digest() for name in names]
    return images[sorted(range(len(names)), key=digests.__getitem__)]


def _decode(found: Found, files: Sequence[str], bad: list[str]) -> tuple[list[str], Pixels]:
    """Decode the images of one split.

    One thread: on small images two threads took twice as long, fighting over the interpreter.

    Args:
        found: The directory.
        files: Parquet files or image files in it.
        bad: Grows by what can't be read and why.

    Returns:
        What the images are called, and (N, 3, 32, 32) uint8.
    """
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    shown = track(
        _encoded(found, files),
        "Decoding images",
        total=len(files) if found.images.issuperset(files) else None,
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    names, images = [], [np.empty((0, EDGE, EDGE, 3), np.uint8)]
    for name, encoded in shown:
        try:
            images.append(decode(encoded())[None])
            names.append(name)
        except (OSError, UnreadableError) as error:
            reason = getattr(error, "strerror", None) or first_line(error)
            bad.append(f"{printable(name)} ({reason})")
    return names, np.ascontiguousarray(np.concatenate(images).transpose(0, 3, 1, 2))


def _encoded(found: Found, files: Sequence[str]) -> Iterator[tuple[str, Encoded]]:
    for file in files:
        if suffix(file) == PARQUET:
            yield from parquet_rows.rows(found.directory, file, found.images)
        else:
            yield file, partial(image_files.read, found.directory / file)
