"""Parquet files, whoever wrote them: looked at before they are read, and damage is noticed.

The checksums of pages don't cover what says which pages a column has: a bit may let it read those
of another. So a file of ours has a seal, the SHA-256 of all its other bytes, between pages and
footer, where readers of parquet look for nothing.
"""

import hashlib
import io

import pyarrow as pa
import pyarrow.parquet as pq

from analysis.tables import version_4
from analysis.tables.schema import arrow_schema, schema_problems
from trainables.errors import first_line

LARGEST_ROWS, LARGEST_BYTES = 5_000_000, 2**30  # of a table, in memory
PARTS = 4  # in which a table of LARGEST_BYTES is read at least: one too many ends it
SEAL = b"SHA-256 of the rest:"
SEAL_BYTES = len(SEAL) + 32
WIDEST_NUMBER = 16  # bytes of a column in a row, beside its text


def encoded(content: pa.Table) -> bytes:
    """Return rows as a parquet file with checksums and a seal; the same rows give the same bytes.

    They are compressed by Snappy: of the small pages of a run's tables zstd makes 4 % less, and
    takes twice as long to read.
    """
    file = io.BytesIO()
    pq.write_table(content, file, compression="snappy", write_page_checksum=True)
    data = file.getvalue()
    footer = _footer(data)
    return data[:footer] + SEAL + hashlib.sha256(data).digest() + data[footer:]


def parsed(data: bytes, table: str) -> tuple[list[str], pa.Table, bool]:
    """Return what is wrong with a parquet file's columns, and its rows, none where something is.

    Every value is looked at. Rows of version 4 have the columns that they had. Late columns that
    the file lacks are null, and the last value returned says whether there are such.

    Raises:
        ValueError: It is damaged, or has more than LARGEST_ROWS or LARGEST_BYTES.
    """
    content, lacks_some = arrow_schema(table).empty_table(), False
    _check_seal(data)
    try:
        file = pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True)
        schema = file.schema_arrow
        if version_4.wrote(schema):
            content = version_4.arrow_schema(table).empty_table()
        problems = schema_problems(schema, content.schema)
        if not problems:
            rows = _read(file, schema)
            lacks_some = len(schema) < len(content.schema)
            columns = [
                rows[field.name] if field.name in schema.names else pa.nulls(len(rows), field.type)
                for field in content.schema
            ]
            content = pa.table(columns, content.schema)
            content.validate(full=True)  # text that is no UTF-8 would surprise whoever looks at it
    except (pa.ArrowException, OSError) as error:
        raise ValueError(first_line(error)) from error
    return problems, content, lacks_some


def check_size(*, rows: int = 0, size: int = 0) -> None:
    """Raise ValueError for a table that is too large to be one of ours, before it is read."""
    if rows > LARGEST_ROWS or size > LARGEST_BYTES:
        raise ValueError(
            f"it has {f'{rows:,} rows' if rows > LARGEST_ROWS else f'{size / 2**30:.1f} GiB'}, and "
            f"a table has at most {LARGEST_ROWS:,} rows and {LARGEST_BYTES / 2**30:g} GiB"
        )


def _read(file: pq.ParquetFile, schema: pa.Schema) -> pa.Table:
    """Read as many rows at a time as can't be too large."""
    # Their columns are not looked at: pyarrow aborts the process for some that are damaged
    groups = [file.metadata.row_group(number) for number in range(file.num_row_groups)]
    rows, size = sum(group.num_rows for group in groups), sum(g.total_byte_size for g in groups)
    check_size(rows=rows, size=size)
    # A text that stands there once may belong to every row, but no row has more than all of them
    has_text = any(pa.types.is_string(kind) or pa.types.is_binary(kind) for kind in schema.types)
    widest = WIDEST_NUMBER * len(schema) + (size if has_text else 0)
    batches, unfolded = [], 0
    for batch in file.iter_batches(
        max(1, min(rows, LARGEST_BYTES // PARTS // widest)),
        use_threads=False,  # they cost more than they save
    ):
        unfolded += batch.nbytes
        check_size(size=unfolded)
        batches.append(batch)
    content = pa.Table.from_batches(batches, schema)
    # A damaged page may end a column early
    if len(content) != file.metadata.num_rows:
        raise ValueError(f"{len(content):,} of {file.metadata.num_rows:,} rows can be read")
    return content


def _footer(data: bytes) -> int:
    """Return where the footer begins. The file ends with its length and four letters."""
    return len(data) - 8 - int.from_bytes(data[-8:-4], "little")


def _check_seal(data: bytes) -> None:
    """Raise ValueError where a file is not as it was sealed. One of another program has no seal."""
    end = _footer(data)
    start = end - SEAL_BYTES
    if start < 0 or data[start : start + len(SEAL)] != SEAL:
        return
    digest = hashlib.sha256(memoryview(data)[:start])
    digest.update(memoryview(data)[end:])
    if digest.digest() != data[end - 32 : end]:
        raise ValueError("it is damaged: its SHA-256 is not that of its content")
