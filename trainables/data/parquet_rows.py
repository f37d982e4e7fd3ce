"""Rows of parquet files that hold images: encoded, or as names of image files beside them."""

import os
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from trainables.data import image_files
from trainables.data.pixels import UnreadableError
from trainables.errors import first_line

COLUMNS = ("img", "image", "pixel_values")
ROWS_AT_ONCE = 4  # Arrow holds no more than 2 GiB of them
Encoded = Callable[[], bytes]


def columns(path: Path) -> list[str]:
    """Return the names of a parquet file's columns. Raises UnreadableError where it is none."""
    import pyarrow as pa  # here, since other sources do without its 0.5 s
    import pyarrow.parquet as pq

    try:
        return list(pq.read_schema(path).names)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise UnreadableError(f"not parquet: {first_line(error)}") from error


def image_column(names: Collection[str], known: Sequence[str] = COLUMNS) -> str | None:
    """Return which of a parquet file's columns holds images; None where none is called so.

    Args:
        names: Those of its columns.
        known: What such a column may be called, in lower case; the first that is there counts.
    """
    return next((name for one in known for name in names if name.lower() == one), None)


def count(path: Path) -> int:
    """Return how many rows a parquet file has: none where it can't be read, as `rows` will say."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return int(pq.read_metadata(path).num_rows)
    except (pa.ArrowException, OSError, UnicodeDecodeError):
        return 0


def row_name(file: str, number: int) -> str:
    """Return what a row is called."""
    return f"{file}, row {number}"


def rows(
    directory: Path, file: str, images: Collection[str], known: Sequence[str] = COLUMNS
) -> Iterator[tuple[str, Encoded]]:
    """Yield for each row its name, and a function that returns its encoded image.

    The function raises UnreadableError or OSError where there is none.

    Args:
        directory: The directory that somebody gave.
        file: A parquet file, relative to it.
        images: The image files, relative to it too: rows may name these and no others.
        known: What the column may be called, as `image_column` has it.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        with pq.ParquetFile(directory / file) as parquet:
            schema = parquet.schema_arrow
            column = image_column(schema.names, known) or ""
            if not _may_hold_images(schema.field(column).type):
                reason = f"column {column} holds {schema.field(column).type}, where bytes, names "
                yield file, partial(_refuse, f"{reason}of files or structs of both are needed")
                return
            # Threads would cost more than they save on so few rows
            for batch in parquet.iter_batches(ROWS_AT_ONCE, columns=[column], use_threads=False):
                for value in batch.column(0).to_pylist():
                    yield row_name(file, number), partial(_encoded, value, directory, file, images)
                    number += 1
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        yield f"{file}, from row {number}", partial(_refuse, first_line(error))


def _may_hold_images(kind: Any) -> bool:
    """Tell whether values of an Arrow type may be images: bytes, strings, or structs of them."""
    from pyarrow import types

    if types.is_struct(kind):
        return not {"bytes", "path"}.isdisjoint(field.name for field in kind)
    if types.is_dictionary(kind):
        kind = kind.value_type
    return any(
        is_such(kind)
        for is_such in (
            types.is_binary,
            types.is_large_binary,
            types.is_fixed_size_binary,
            types.is_binary_view,
            types.is_string,
            types.is_large_string,
            types.is_string_view,
        )
    )


def _encoded(value: Any, directory: Path, file: str, images: Collection[str]) -> bytes:
    if isinstance(value, dict):
        value = value.get("bytes") or value.get("path")
    if isinstance(value, bytes):
        return value
    if not isinstance(value, str):
        raise UnreadableError("null" if value is None else "neither bytes nor the name of a file")
    for beside in (os.path.dirname(file), ""):
        named = os.path.relpath(os.path.join(directory, beside, value), directory)
        if named in images:
            return image_files.read(directory / named)
    raise UnreadableError(f"{value!r:.99} is no image file of that directory")


def _refuse(reason: str) -> bytes:
    raise UnreadableError(reason)
