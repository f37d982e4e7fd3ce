"""One CSV file per table over every run of a directory, written file by file and without images."""

from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
from pyarrow.csv import CSVWriter

from analysis.console import Console
from analysis.tables.copies import read_file
from analysis.tables.files import written_aside
from analysis.tables.schema import TABLES, arrow_schema
from analysis.tables.table_sources import Place
from trainables.errors import UsageError


def write_csv_files(place: Place, directory: Path, console: Console) -> list[str]:
    """Write `directory`/TABLE.csv, whole or not at all, for each table that there is; what went wrong."""
    problems = []
    for table in TABLES:
        runs = sorted(run for run, tables in place.runs.items() if table in tables)
        path = directory / f"{table}.csv"
        console.progress(f"writing {path}")
        try:
            if runs:
                with written_aside(path, keep_same=True) as file:
                    _write(file, place, table, runs)
        except ValueError as error:
            problems.append(f"{path} was not written: {error}")
    return problems


def _write(file: BinaryIO, place: Place, table: str, runs: Sequence[str]) -> None:
    fields = [field for field in arrow_schema(table) if not pa.types.is_binary(field.type)]
    schema = pa.schema([_plain(field) for field in fields])
    with CSVWriter(file, schema) as writer:
        for run in runs:
            found = read_file(place, table, run)
            if found.content is None:
                raise UsageError(f"{place.where(table, run)}: {found.problems[0]}")
            writer.write_table(found.content.select(schema.names).cast(schema))


def _plain(field: pa.Field) -> pa.Field:
    """The run as text: CSV has no dictionaries. Any column may be null, as files of OUT are not checked again."""
    return pa.field(field.name, pa.string() if pa.types.is_dictionary(field.type) else field.type)
