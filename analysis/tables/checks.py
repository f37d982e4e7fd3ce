"""A file's content against the schema: what is wrong with it, in sentences that name column and row."""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from math import inf

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from analysis.tables.files import write_parquet
from analysis.tables.schema import (
    KEYS,
    TABLES,
    VERSION,
    Column,
    arrow_schema,
    brought_up,
    file_version,
)

Flags = npt.NDArray[np.bool_]
NONE = np.zeros(0, bool)
TODAY = {table: arrow_schema(table) for table in TABLES}


@dataclass(frozen=True)
class Checked:
    """A file's bytes and what was found in them."""

    data: bytes
    problems: tuple[str, ...] = ()
    content: pa.Table | None = None
    """Its rows with today's columns; None when they can't be had."""
    current: bool = False
    """Whether it was written by today's version of the schema."""

    def today(self) -> bytes:
        """The file as today's version writes it: its own bytes unless it is older."""
        if self.current:
            return self.data
        rewritten = io.BytesIO()
        write_parquet(self.content, rewritten)
        return rewritten.getvalue()


def check(data: bytes, table: str, run: str) -> Checked:
    """`data` as the file of that table and run; rows are counted from 1, each column is named at most once."""
    try:
        raw = pq.ParquetFile(pa.BufferReader(data)).read(
            use_threads=False
        )  # callers read many files at once
        raw.validate(full=True)
    except (pa.ArrowException, OSError, ValueError) as error:
        return Checked(data, (f"can't be read: {str(error).partition(chr(10))[0]}",))
    if raw.schema.equals(TODAY[table], check_metadata=True):
        return Checked(data, tuple(_rows(raw, table, run)), raw, current=True)
    problems = tuple(_form(raw.schema, table))
    if problems:
        return Checked(data, problems)
    try:
        content = pa.table(
            brought_up(table, raw).columns, schema=TODAY[table]
        )  # with today's metadata too
    except ValueError as error:
        return Checked(data, (str(error),))
    return Checked(
        data, tuple(_rows(content, table, run)), content, file_version(raw.schema) == VERSION
    )


def _form(schema: pa.Schema, table: str) -> Iterator[str]:
    """Problems of the metadata and columns. Types of older versions are left to `brought_up`, which converts them."""
    stated = (schema.metadata or {}).get(b"table", b"").decode(errors="replace")
    version = file_version(schema)
    if stated != table:
        yield f"its metadata says that it is {f'the table {stated}' if stated else 'no table'}, should be {table}"
    elif version > VERSION:
        yield f"has schema version {version}, and this program reads up to {VERSION}: update transform-tuner"
    else:
        target = TODAY[table]
        for field in schema:
            if field.name not in target.names:
                yield f"column {field.name}: is unknown to the table {table} of schema version {VERSION}"
            elif version == VERSION and field.type != target.field(field.name).type:
                yield f"column {field.name}: is {field.type}, should be {target.field(field.name).type}"


def _rows(content: pa.Table, table: str, run: str) -> Iterator[str]:
    for column, values in zip(TABLES[table], content.columns, strict=True):
        for row, more in _first(_wrong(column, values, run)):
            yield f"column {column.name}, row {row + 1}: {_is_not(column, values[row].as_py(), run)}{more}"
    for row, more in _first(_repeated(content, KEYS[table])):
        key = ", ".join(f"{name} {content.column(name)[row].as_py()}" for name in KEYS[table])
        yield f"row {row + 1}: has the key of an earlier row ({key or 'one row a run'}){more}"


def _wrong(column: Column, values: pa.ChunkedArray, run: str) -> Flags:
    """Per row whether the value may not be there; empty where that is plain without a look at the values."""
    nulls, wrong = values.null_count, NONE
    if column.name == "run":
        wrong = pc.not_equal(values.cast(pa.string()), run).fill_null(True).to_numpy()
    elif column.range and nulls < len(values):
        numbers, (low, high) = (
            values.to_numpy(),
            column.range,
        )  # null becomes NaN, which is never inside
        wrong = ~((numbers >= low) & (numbers <= high))
    elif nulls and not column.nullable:
        wrong = values.is_null().to_numpy()
    return wrong & values.is_valid().to_numpy() if column.nullable and len(wrong) else wrong


def _is_not(column: Column, value: object, run: str) -> str:
    if value is None:
        return "is null, should have a value"
    if column.name == "run":
        return f"is {value}, should be {run} as its folder says"
    low, high = column.range or (0.0, inf)
    return f"is {value}, should " + (
        f"be {low:g} or more" if high == inf else f"lie between {low:g} and {high:g}"
    )


def _repeated(content: pa.Table, key: tuple[str, ...]) -> Flags:
    """Per row whether an earlier one has its key; empty where none has."""
    columns = [content.column(name) for name in key]
    lists = [
        column.to_pylist() if column.null_count else column.to_numpy().tolist()
        for column in columns
    ]
    rows = list(zip(*lists, strict=True)) if key else [()] * len(content)
    if len(set(rows)) == len(rows):
        return NONE
    firsts = {row: number for number, row in reversed(list(enumerate(rows)))}
    return np.array([firsts[row] != number for number, row in enumerate(rows)])


def _first(wrong: Flags) -> Iterator[tuple[int, str]]:
    """The first row that is wrong, if one is, and in words how many more are."""
    if wrong.any():
        rows = np.flatnonzero(wrong)
        yield (
            int(rows[0]),
            {1: "", 2: "; so is 1 more row"}.get(
                len(rows), f"; so are {len(rows) - 1:,} more rows"
            ),
        )
