"""One CSV file per table over every run of a directory, written file by file and without images."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
from pyarrow.csv import CSVWriter

from analysis.console import Console
from analysis.tables.copies import checked_file
from analysis.tables.schema import TABLES, arrow_schema
from analysis.tables.table_sources import TableSource
from trainables.atomic_write import atomic_write
from trainables.errors import UsageError


def write_csv_files(source: TableSource, directory: Path, console: Console) -> list[str]:
    """Write `directory`/TABLE.csv, whole or not at all, for each table that has runs.

    Returns:
        A sentence for each file that was not written, since a file of `source` can't be read.
    """
    problems = []
    for table in TABLES:
        runs = sorted(run for run, tables in source.runs.items() if table in tables)
        path = directory / f"{table}.csv"
        console.progress(f"writing {path}")
        try:
            if runs:
                with atomic_write(path, keep_same=True) as aside:
                    _write(aside, source, table, runs)
        except UsageError as error:
            problems.append(f"{path} was not written: {error}")
    return problems


def _write(path: Path, source: TableSource, table: str, runs: Sequence[str]) -> None:
    fields = [field for field in arrow_schema(table) if not pa.types.is_binary(field.type)]
    schema = pa.schema([_csv_field(field) for field in fields])
    with CSVWriter(path, schema) as writer:
        for run in runs:
            found = checked_file(source, table, run)
            if found.content is None:
                raise UsageError(f"{source.where(table, run)}: {found.problems[0]}")
            writer.write_table(found.content.select(schema.names).cast(schema))


def _csv_field(field: pa.Field) -> pa.Field:
    """Return a column as CSV has it: no dictionaries, and null anywhere.

    Files that were collected before are not checked again, and may have nulls where none should be.
    """
    return pa.field(field.name, pa.string() if pa.types.is_dictionary(field.type) else field.type)
