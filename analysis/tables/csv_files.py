"""One CSV file per table over every run of a directory, written file by file and without images."""

from pathlib import Path

import pyarrow as pa
from pyarrow.csv import CSVWriter

from analysis.console import Console
from analysis.tables.files import read_file
from analysis.tables.schema import TABLES, arrow_schema
from trainables.atomic_write import atomic_write
from trainables.errors import UsageError


def write_csv_files(tables: Path, directory: Path, console: Console) -> list[str]:
    """Write `directory`/TABLE.csv, whole or not at all, for each table that has runs.

    Args:
        tables: The directory that has a folder for each table.
        directory: Where to write.
        console: For the progress line.

    Returns:
        A sentence for each file that was not written, since one of `tables` can't be read.

    Raises:
        OSError: The disk is full or read-only.
    """
    problems = []
    for table in TABLES:
        sources = sorted(tables.glob(f"{table}/run=*/{table}.parquet"))
        path = directory / f"{table}.csv"
        console.progress(f"writing {path}")
        try:
            if sources:
                with atomic_write(path, keep_same=True) as aside:
                    _write(aside, table, sources)
        except UsageError as error:
            problems.append(f"{path} was not written: {error}")
    return problems


def _write(path: Path, table: str, sources: list[Path]) -> None:
    fields = []
    for field in arrow_schema(table):
        if not pa.types.is_binary(field.type):
            # No dictionaries, and null anywhere: what was collected before is not checked again
            kind = pa.string() if pa.types.is_dictionary(field.type) else field.type
            fields.append(pa.field(field.name, kind))
    schema = pa.schema(fields)
    with CSVWriter(path, schema) as writer:
        for source in sources:
            writer.write_table(read_file(source, table).select(schema.names).cast(schema))
