"""What a directory holds: which files have images in them, and in which splits they are."""

import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from trainables.data import image_files, parquet_rows
from trainables.data.pixels import UnreadableError
from trainables.data.split_names import TRAIN, split_by_names
from trainables.errors import UsageError, printable

READ = (".bmp", ".gif", ".jfif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
NOT_READ = (".avif", ".cr2", ".dng", ".heic", ".heif", ".jp2", ".jxl", ".nef", ".psd", ".svg")
PARQUET = ".parquet"
SHARD = re.compile(r"(.*-)\d+-of-0*(\d+)\.parquet", re.IGNORECASE)


@dataclass(frozen=True)
class Found:
    """What a directory holds, as paths relative to it.

    Attributes:
        directory: The directory.
        splits: Parquet files or image files, by split.
        images: All image files: rows of parquet files may name them.
        note: What was guessed or left out, in one line; empty where nothing was.
    """

    directory: Path
    splits: dict[str, list[str]]
    images: frozenset[str]
    note: str


def find(directory: Path) -> Found:
    """Find which files hold images, and their splits.

    Parquet files with a column of images come before image files.

    Raises:
        UsageError: There is nothing to train on.
        OSError: A directory can't be read.
    """
    files = image_files.files_below(directory)
    images = [file for file in files if suffix(file) in READ]
    columns = {file: _columns(directory / file) for file in files if suffix(file) == PARQUET}
    tables = [file for file, names in columns.items() if parquet_rows.image_column(names)]
    if not tables and not images:
        raise UsageError(f"--data {directory}: {_nothing(files, columns)}")
    names = {file: file for file in tables} or {file: os.path.dirname(file) for file in images}
    splits, notes = split_by_names(names)
    if TRAIN not in splits:
        raise UsageError(
            f"--data {directory}: all that is there is named {' or '.join(splits)}: "
            f"give the directory of that name itself, or one that also has something to train on"
        )
    notes += _missing_shards(tables)
    if tables and images:
        notes.append(f"image files are read where rows name them ({len(images):,} are there)")
    if len(tables) < len(columns):
        notes.append(f"parquet files without images are left out ({len(columns) - len(tables):,})")
    notes += [f"{kind} files are left out ({n:,})" for kind, n in _not_read(files).items()]
    return Found(directory, splits, frozenset(images), "; ".join(notes))


def suffix(file: str) -> str:
    """Return how a file's name ends, in lower case."""
    return os.path.splitext(file)[1].lower()


def _nothing(files: Sequence[str], columns: Mapping[str, list[str]]) -> str:
    """Say what is in the place of images."""
    if columns:
        file, names = next(iter(columns.items()))
        return (
            f"{printable(file)} has the columns {', '.join(names)}: "
            f"one must be named {' or '.join(parquet_rows.COLUMNS)}"
        )
    others = "".join(f", but {kind} files ({n:,})" for kind, n in _not_read(files).items())
    return (
        f"found neither parquet files nor image files ({', '.join(READ)}){others}: "
        f"give a directory with some"
    )


def _not_read(files: Sequence[str]) -> Counter[str]:
    return Counter(kind for file in files if (kind := suffix(file)) in NOT_READ)


def _columns(path: Path) -> list[str]:
    try:
        return parquet_rows.columns(path)
    except UnreadableError:  # which is told with all else that can't be read
        return [parquet_rows.COLUMNS[0]]


def _missing_shards(tables: Sequence[str]) -> list[str]:
    shards = [found for file in tables if (found := SHARD.fullmatch(file))]
    there = Counter((found[1], int(found[2])) for found in shards)
    return [
        f"of the {count:,} parts {printable(start)}* only {n:,} are there"
        for (start, count), n in there.items()
        if n < count
    ]
