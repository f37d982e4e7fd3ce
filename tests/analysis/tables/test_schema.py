"""Every table describes itself."""

import pyarrow as pa
import pytest

from analysis.tables.schema import KEYS, TABLES, VERSION, Column, arrow_schema, brought_up

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


def of_version(version: int, table: str = "samples", without: tuple[str, ...] = ()) -> pa.Table:
    """An empty table but for one row of nulls, as that version would have written it."""
    schema = arrow_schema(table)
    fields = [field.with_nullable(True) for field in schema if field.name not in without]
    older = pa.schema(fields, {"table": table, "schema_version": str(version)})
    return pa.Table.from_pylist([{}], older)


def test_a_table_of_the_first_version_is_read_with_what_its_missing_columns_stood_for() -> None:
    newer = ("loss", "damaged_checkpoint", "best_validation_cosine", "compiled", "perceptual_batch")
    trials = brought_up("trials", of_version(1, "trials", without=newer))
    assert trials.schema.equals(arrow_schema("trials"), check_metadata=True)
    assert trials["loss"].to_pylist() == ["mse"]
    assert brought_up("samples", of_version(1, without=("rank",)))["rank"].to_pylist() == [None]


def test_a_table_of_the_second_version_knew_of_no_damaged_checkpoints() -> None:
    content = of_version(2, "trials", without=("damaged_checkpoint",))
    assert brought_up("trials", content)["damaged_checkpoint"].to_pylist() == [None]
    with pytest.raises(ValueError, match="column damaged_checkpoint is missing"):
        brought_up("trials", of_version(3, "trials", without=("damaged_checkpoint",)))


@pytest.mark.parametrize("column", ["best_validation_cosine", "compiled", "perceptual_batch"])
def test_a_table_of_the_third_version_knew_of_no_cosines_nor_of_what_came_with_them(
    column: str,
) -> None:
    content = of_version(3, "trials", without=(column,))
    assert brought_up("trials", content)[column].to_pylist() == [None]
    with pytest.raises(ValueError, match=f"column {column} is missing"):
        brought_up("trials", of_version(4, "trials", without=(column,)))


def test_a_column_that_its_version_must_have_is_missed_by_name() -> None:
    for version, column in ((1, "image"), (VERSION, "rank")):
        with pytest.raises(ValueError, match=f"column {column} is missing"):
            brought_up("samples", of_version(version, without=(column,)))


def test_a_newer_version_is_refused_with_what_to_do() -> None:
    with pytest.raises(
        ValueError,
        match=f"schema version {VERSION + 1}.*reads up to {VERSION}: update transform-tuner",
    ):
        brought_up("samples", of_version(VERSION + 1))


def test_a_type_that_does_not_convert_is_told_and_one_that_does_is_converted() -> None:
    content = of_version(1)
    position = content.column_names.index("trial")
    words = content.set_column(position, "trial", pa.array(["seven"]))
    with pytest.raises(ValueError, match="column trial: is string, should be int32"):
        brought_up("samples", words)
    assert brought_up("samples", content.set_column(position, "trial", pa.array([7])))[
        "trial"
    ].to_pylist() == [7]


def test_columns_that_the_schema_does_not_know_are_left_out() -> None:
    content = of_version(1).append_column("mood", pa.array(["good"]))
    assert brought_up("samples", content).column_names == arrow_schema("samples").names
