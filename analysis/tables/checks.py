"""A file's content against the schema: what is wrong, in sentences that name column and row."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import inf
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from analysis.tables import version_4
from analysis.tables.parameters import read_parameters, read_spaces
from analysis.tables.parquet import parsed
from analysis.tables.schema import KEYS, TABLES, VERSION, Column
from trainables.errors import first_line

Flags = npt.NDArray[np.bool_]
"""One flag a row; without any where no row can be meant."""
NONE = np.zeros(0, bool)
FLOAT_BYTES = 4


@dataclass(frozen=True)
class Checked:
    """A file's bytes and what was found in them."""

    data: bytes
    problems: tuple[str, ...] = ()
    content: pa.Table | None = None
    """Its rows; None where they can't be had."""
    is_upgraded: bool = False
    """Whether its rows were turned into those of today."""


def check(data: bytes, table: str, run: str) -> Checked:
    """Check the bytes of a file that should hold a run's rows of a table.

    Rows are counted from 1. Each column is named once, with the first of its rows that is wrong.
    """
    try:
        problems, content, lacks_some = parsed(data, table)
    except ValueError as error:
        return Checked(data, (f"can't be read: {first_line(error)}",))
    if problems:
        return Checked(data, tuple(problems))
    if version_4.wrote(content.schema):
        return _version_4(data, content, table, run)
    wrong = tuple(_wrong_rows(content, TABLES[table], KEYS[table], run))
    return Checked(data, wrong, content, is_upgraded=lacks_some)


def _version_4(data: bytes, content: pa.Table, table: str, run: str) -> Checked:
    columns, key = version_4.TABLES[table], version_4.KEYS[table]
    problems = tuple(_wrong_rows(content, columns, key, run))
    if not problems:
        try:
            content = version_4.upgraded(content, table)
        except (ArithmeticError, TypeError, ValueError) as error:
            problems = (f"can't be read as version {VERSION}: {first_line(error)}",)
    return Checked(data, problems, content, is_upgraded=True)


def _wrong_rows(
    content: pa.Table, columns: tuple[Column, ...], key: tuple[str, ...], run: str
) -> Iterator[str]:
    for column, values in zip(columns, content.columns, strict=True):
        wrong = _wrong_values(column, values, run)
        if wrong.any():
            row = int(wrong.argmax())
            yield (
                f"column {column.name}, row {row + 1}: "
                f"{_is_not(column, values[row].as_py(), run)}{_more(wrong)}"
            )
    repeated = _repeated(content, key)
    if repeated.any():
        row = int(repeated.argmax())
        values = ", ".join(f"{name} {content.column(name)[row].as_py()}" for name in key)
        yield (
            f"row {row + 1}: has the key of an earlier row ({values or 'one row a run'})"
            f"{_more(repeated)}"
        )


def _wrong_values(column: Column, values: pa.ChunkedArray, run: str) -> Flags:
    """Flag the values that may not be there; NONE where that is plain without a look at them."""
    nulls, wrong = values.null_count, NONE
    if column.name == "run" and values.unique().to_pylist() != [run]:
        wrong = pc.not_equal(values.cast(pa.string()), run).fill_null(True).to_numpy()
    elif column.is_json:
        wrong = ~pc.is_in(values, pa.array(_objects(column.name, values), pa.string())).to_numpy()
    elif column.range and nulls < len(values):
        low, high = column.range
        numbers = values.to_numpy()  # null becomes NaN, which is never inside
        wrong = ~((numbers >= low) & (numbers <= high))
    elif column.name == "probe_outputs":
        wrong = pc.binary_length(values).to_numpy() % FLOAT_BYTES != 0  # null is NaN, which is none
    elif nulls and not column.nullable:
        wrong = values.is_null().to_numpy()
    if column.nullable and len(wrong):
        wrong = wrong & values.is_valid().to_numpy()
    return wrong


def _objects(column: str, values: pa.ChunkedArray) -> list[str]:
    """Return those texts that are the JSON that the column has; of equal ones one."""
    own: dict[str, Callable[[str], Any]] = {"space": read_spaces, "parameters": read_parameters}
    reads = own.get(column, json.loads)
    found = []
    for text in values.unique().drop_null().to_pylist():
        try:
            if isinstance(reads(text), list if column == "steps" else dict):
                found.append(text)
        except (ValueError, RecursionError):
            continue
    return found


def _is_not(column: Column, value: object, run: str) -> str:
    if value is None:
        return "is null, should have a value"
    if column.name == "run":
        return f"is {value}, should be {run} as its folder says"
    if column.is_json:
        return "is no object in JSON"
    if isinstance(value, bytes):
        return f"has {len(value)} bytes, should have {FLOAT_BYTES} for each number"
    low, high = column.range or (0.0, inf)
    if high == inf:
        return f"is {value}, should be {low:g} or more"
    return f"is {value}, should lie between {low:g} and {high:g}"


def _repeated(content: pa.Table, key: tuple[str, ...]) -> Flags:
    """Flag the rows of which an earlier one has the key; NONE where no row is."""
    if not key:
        return np.arange(len(content)) > 0
    rows = list(
        zip(
            *(
                column.to_pylist() if column.null_count else column.to_numpy().tolist()
                for column in map(content.column, key)
            ),
            strict=True,
        )
    )
    if len(set(rows)) == len(rows):
        return NONE
    first = {row: number for number, row in reversed(list(enumerate(rows)))}
    return np.array([first[row] < number for number, row in enumerate(rows)])


def _more(wrong: Flags) -> str:
    """Say how many rows are wrong beside the first."""
    more = int(wrong.sum()) - 1
    if more == 0:
        return ""
    return "; so is 1 more row" if more == 1 else f"; so are {more:,} more rows"
