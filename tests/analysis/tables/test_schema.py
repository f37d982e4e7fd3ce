"""Every table describes itself."""

import pyarrow as pa
import pytest

from analysis.tables.schema import (
    KEYS,
    TABLES,
    VERSION,
    Column,
    arrow_schema,
    schema_problems,
)
from docs.generate import columns_markdown

COLUMNS = [(table, column) for table, columns in TABLES.items() for column in columns]


@pytest.mark.parametrize(("table", "column"), COLUMNS, ids=[f"{t}.{c.name}" for t, c in COLUMNS])
def test_a_column_has_a_meaning_and_a_unit_where_its_name_asks_for_one(
    table: str, column: Column
) -> None:
    assert column.meaning.strip()
    units = {"_sec": "s", "per_sec": "1/s", "_mib": "MiB", "_gib": "GiB", "_db": "dB"}
    units |= {
        "_mhz": "MHz",
        "_w": "W",
        "_j": "J",
        "_gflops": "GFLOP/s",
        "gb_per_sec": "GB/s",
        "_bytes": "B",
    }
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
        assert (field.name, field.type, field.nullable) == (
            column.name,
            column.type,
            column.nullable,
        )
        assert field.metadata == {
            b"unit": column.unit.encode(),
            b"meaning": column.meaning.encode(),
        }


def test_moments_are_in_utc() -> None:
    assert {str(column.type) for _, column in COLUMNS if column.name.endswith("_at")} == {
        "timestamp[us, tz=UTC]"
    }


@pytest.mark.parametrize("table", TABLES)
def test_the_key_of_a_table_is_made_of_its_columns(table: str) -> None:
    assert set(KEYS[table]) <= {column.name for column in TABLES[table]}


def test_a_table_s_own_schema_is_no_problem_whatever_may_be_null_and_however_it_is_worded() -> None:
    wanted = arrow_schema("samples")
    lenient = [field.with_nullable(True).with_metadata({}) for field in wanted]
    assert schema_problems(wanted, wanted) == []
    assert schema_problems(pa.schema(lenient, wanted.metadata), wanted) == []


@pytest.mark.parametrize("version", [1, 4, VERSION + 1])
def test_a_table_of_another_version_is_answered_by_one_sentence(version: int) -> None:
    fields = [pa.field("mood", pa.string())]
    metadata = {"table": "samples", "schema_version": str(version)}
    (sentence,) = schema_problems(pa.schema(fields, metadata), arrow_schema("samples"))
    assert sentence == (
        f"it has schema version {version}, and this transform-tuner reads 4 and {VERSION}: "
        "take the one that wrote it, or make the run again"
    )


def test_columns_in_another_order_are_a_problem() -> None:
    wanted = arrow_schema("epochs")
    (sentence,) = schema_problems(pa.schema(list(wanted)[::-1], wanted.metadata), wanted)
    assert sentence == "its columns are in another order than the table epochs has them"


@pytest.mark.parametrize("table", TABLES)
def test_the_documentation_has_a_line_for_each_column(table: str) -> None:
    head, rule, *lines = columns_markdown(table).splitlines()
    assert (head, rule) == ("| column | type | unit | meaning |", "|---|---|---|---|")
    for line, column in zip(lines, TABLES[table], strict=True):
        _, name, kind, unit, meaning, _ = (cell.strip() for cell in line.split("|"))
        assert (name, unit, meaning) == (f"`{column.name}`", column.unit, column.meaning)
        assert kind.endswith(", or null") == column.nullable


def test_types_are_named_as_people_name_them() -> None:
    lines = columns_markdown("epochs").splitlines()
    assert "| `epoch` | int32 |  | from 1 |" in lines
    assert "| `train_sec` | float64 | s | training |" in lines
    assert "| `rank` | int32 |" in columns_markdown("samples")


def test_what_a_damaged_file_says_of_itself_is_told_in_a_short_line() -> None:
    long = "\x00e\n\x00" + 1000 * "p"
    for metadata in ({"table": long}, {"table": "epochs", "schema_version": long}):
        (sentence,) = schema_problems(pa.schema([], metadata), arrow_schema("epochs"))
        assert sentence.isprintable()
        assert len(sentence) < 300
    wanted = arrow_schema("epochs")
    fields = [*wanted, pa.field("x" * 1000, pa.struct({"y" * 1000: pa.int8()}))]
    (sentence,) = schema_problems(pa.schema(fields, wanted.metadata), wanted)
    assert len(sentence) < 300
