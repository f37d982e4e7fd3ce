"""Whether a file is a table of ours: each column there, of its type, with values that can be."""

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from analysis.schema import SHARE, TABLES, VERSION, Column, arrow_schema

NEVER_NEGATIVE = {"s", "MiB", "GiB", "1/s", "epochs", "B", "W", "J", "MHz", "GB/s", "GFLOP/s"}  # units


def version_of(file: pa.Table) -> int:
    """The schema version that a file was written with; 0 when it says none."""
    return int((file.schema.metadata or {}).get(b"schema_version", b"0"))


def problems(file: pa.Table, table: str, run: str) -> list[str]:
    """What is wrong with a run's file, each with its column and the first row; empty when nothing is.

    Files of older schema versions may lack columns that are nullable today.
    """
    version = version_of(file)
    if version > VERSION:
        return [f"it has schema version {version}, and this version knows {VERSION}: update transform-tuner"]
    known = {column.name for column in TABLES[table]}
    found = [f"column {name} is not one of this table" for name in file.column_names if name not in known]
    for column in TABLES[table]:
        if column.name in file.column_names:
            found += _problems_of(column, file.column(column.name))
        elif not column.nullable or version == VERSION:
            found.append(f"column {column.name} is missing")
    if not found and len(file) and file.column("run").unique().to_pylist() != [run]:
        found.append(f"column run names {file.column('run').unique().to_pylist()}, and the folder {run}")
    return found


def brought_up(file: pa.Table, table: str) -> pa.Table:
    """A sound file with today's columns, order and metadata; columns that it didn't have yet are null."""
    schema = arrow_schema(table)
    columns = [
        file.column(field.name) if field.name in file.column_names else pa.nulls(len(file), field.type)
        for field in schema
    ]
    return pa.table(columns, schema=schema)


def _problems_of(column: Column, values: pa.ChunkedArray) -> Iterator[str]:
    if values.type != column.type:
        yield f"column {column.name} is {values.type}, and should be {column.type}"
        return
    wrong = {"is null": pc.is_null(values)} if not column.nullable and values.null_count else {}
    if column.type == SHARE and column.name.startswith(("share", "best_validation_acc", "validation_acc")):
        wrong["is not between 0 and 1"] = pc.invert(pc.and_(pc.greater_equal(values, 0.0), pc.less_equal(values, 1.0)))
    if column.unit in NEVER_NEGATIVE:
        wrong["is negative"] = pc.less(values, 0)
    for what, mask in wrong.items():
        row = pc.index(mask, True).as_py()
        if row >= 0:
            yield f"column {column.name} {what} in row {row}"
