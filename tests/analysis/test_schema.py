"""Every table describes itself."""

import pytest

from analysis.schema import TABLES, VERSION, Column, arrow_schema

COLUMNS = [(table, column) for table, columns in TABLES.items() for column in columns]


@pytest.mark.parametrize(("table", "column"), COLUMNS, ids=[f"{t}.{c.name}" for t, c in COLUMNS])
def test_a_column_has_a_meaning_and_a_unit_where_its_name_asks_for_one(table: str, column: Column) -> None:
    assert column.meaning.strip()
    units = {"_sec": "s", "per_sec": "1/s", "_mib": "MiB", "_gib": "GiB", "_db": "dB"}
    units |= {"_mhz": "MHz", "_w": "W", "_j": "J", "_gflops": "GFLOP/s", "gb_per_sec": "GB/s", "_bytes": "B"}
    endings = [ending for ending in units if column.name.endswith(ending)]
    if endings:
        assert column.unit == units[max(endings, key=len)]


@pytest.mark.parametrize("table", TABLES)
def test_names_of_columns_are_unique_and_the_run_comes_first(table: str) -> None:
    names = [column.name for column in TABLES[table]]
    assert len(set(names)) == len(names)
    assert names[0] == "run"


@pytest.mark.parametrize("table", TABLES)
def test_the_arrow_schema_carries_types_units_meanings_and_version(table: str) -> None:
    schema = arrow_schema(table)
    assert schema.metadata == {b"table": table.encode(), b"schema_version": str(VERSION).encode()}
    for field, column in zip(schema, TABLES[table], strict=True):
        assert (field.name, field.type, field.nullable) == (column.name, column.type, column.nullable)
        assert field.metadata == {b"unit": column.unit.encode(), b"meaning": column.meaning.encode()}


def test_moments_are_in_utc() -> None:
    assert {str(column.type) for _, column in COLUMNS if column.name.endswith("_at")} == {"timestamp[us, tz=UTC]"}
