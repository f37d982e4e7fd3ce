"""Small made-up runs, each table with values that the schema allows, and collecting them."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from analysis.aggregate import main
from analysis.tables.files import publish, rows_of, table_path
from analysis.tables.schema import TABLES

MOMENT = datetime(2026, 1, 2, tzinfo=UTC)


def row(table: str, run: str = "fc", **more: Any) -> dict[str, Any]:
    """A row with a value in every column."""
    values = {
        column.name: "{}" if column.is_json else value(column.type) for column in TABLES[table]
    }
    if table == "runs":
        values["steps"] = "[]"
    return values | {"run": run, **more}


def value(kind: pa.DataType) -> Any:
    kinds = {
        pa.types.is_timestamp: MOMENT,
        pa.types.is_binary: b"\x89PNG",
        pa.types.is_boolean: True,
    }
    kinds |= {pa.types.is_integer: 1, pa.types.is_floating: 0.5}
    return next((example for is_kind, example in kinds.items() if is_kind(kind)), "text")


def epochs(count: int, run: str = "fc", **more: Any) -> list[dict[str, Any]]:
    return [row("epochs", run, epoch=number, **more) for number in range(1, count + 1)]


def search(storage: Path, run: str = "fc", count: int = 3, **facts: Any) -> None:
    """Every table of a run, of which `count` epochs; `facts` are columns of its table `runs`."""
    for table in TABLES:
        rows = {"runs": [row(table, run, **facts)], "epochs": epochs(count, run)}.get(
            table, [row(table, run)]
        )
        publish(storage / "tables", table, run, rows)


def file_of(storage: Path, table: str, run: str = "fc") -> Path:
    return table_path(storage / "tables", table, run)


def state(directory: Path) -> dict[str, tuple[bytes, int]]:
    """Every file's bytes and when it was written."""
    files = (path for path in directory.rglob("*") if path.is_file() and path.name != ".lock")
    return {
        str(path.relative_to(directory)): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in files
    }


def contents(directory: Path) -> dict[str, bytes]:
    return {name: data for name, (data, _) in state(directory / "tables").items()}


def collect(*places: Path, more: tuple[str, ...] = ()) -> int:
    """Collect all places but the last into the last; the exit status."""
    *given, out = map(str, places)
    return main([*given, "--out", out, *more])


def count(out: Path, run: str = "fc") -> int:
    return len(rows_of(out / "tables", "epochs", run))


def spoil(storage: Path, run: str = "fc") -> str:
    """Give a run's epochs a value that can't be; the sentence that tells it."""
    publish(storage / "tables", "epochs", run, epochs(2, run, validation_accuracy=1.3))
    path = file_of(storage, "epochs", run)
    problem = "is 1.3, should lie between 0 and 1; so is 1 more row"
    return f"{path}: column validation_accuracy, row 1: {problem}"
