"""A file with a problem is told by column and row; a sound one passes as it is."""

import io
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from analysis.tables.checks import Checked, check
from analysis.tables.schema import KEYS, TABLES, VERSION, arrow_schema
from tests.analysis.collecting import epochs, row

INFINITE = float("inf")


def written(content: pa.Table) -> bytes:
    file = io.BytesIO()
    pq.write_table(content, file)
    return file.getvalue()


def lenient(table: str, rows: list[dict[str, Any]]) -> pa.Table:
    """As another program might write it: with nulls wherever they come."""
    schema = arrow_schema(table)
    return pa.Table.from_pylist(
        rows, pa.schema([field.with_nullable(True) for field in schema], schema.metadata)
    )


def checked(rows: list[dict[str, Any]], table: str = "epochs", run: str = "fc") -> Checked:
    return check(written(lenient(table, rows)), table, run)


def with_metadata(**more: str) -> pa.Table:
    content = lenient("epochs", epochs(1))
    return content.replace_schema_metadata(
        {"table": "epochs", "schema_version": str(VERSION)} | more
    )


@pytest.mark.parametrize("table", TABLES)
def test_a_sound_file_of_every_table_is_kept_byte_by_byte(table: str) -> None:
    data = written(pa.Table.from_pylist([row(table)], arrow_schema(table)))
    found = check(data, table, "fc")
    assert (found.problems, found.data) == ((), data)
    assert found.content == pq.read_table(io.BytesIO(data), partitioning=None)


@pytest.mark.parametrize("table", TABLES)
def test_nulls_are_told_in_every_column_that_has_none_and_in_no_other(table: str) -> None:
    rows = [
        row(table),
        row(table)
        | {column.name: None for column in TABLES[table] if column.name not in KEYS[table]},
    ]
    told = [text for text in checked(rows, table).problems if "null" in text]
    expected = [
        column.name
        for column in TABLES[table]
        if not column.nullable and column.name not in KEYS[table]
    ]
    assert told == [f"column {name}, row 2: is null, should have a value" for name in expected]


@pytest.mark.parametrize(
    ("column", "wrong", "sentence"),
    [
        ("validation_accuracy", 1.3, "is 1.3, should lie between 0 and 1"),
        ("validation_accuracy", -0.1, "is -0.1, should lie between 0 and 1"),
        ("validation_accuracy", float("nan"), "is nan, should lie between 0 and 1"),
        ("train_sec", -1.0, "is -1.0, should be 0 or more"),
        ("train_sec", float("nan"), "is nan, should be 0 or more"),
        ("run", "cnn", "is cnn, should be fc as its folder says"),
    ],
)
def test_a_value_that_may_not_be_there_is_told_with_its_row(
    column: str, wrong: Any, sentence: str
) -> None:
    rows = epochs(20)
    rows[16][column] = wrong
    assert checked(rows).problems == (f"column {column}, row 17: {sentence}",)


def test_outputs_that_are_no_whole_numbers_of_four_bytes_are_told() -> None:
    assert checked([row("runs", probe_outputs=bytes(8))], "runs").problems == ()
    assert checked([row("runs", probe_outputs=bytes(3))], "runs").problems == (
        "column probe_outputs, row 1: has 3 bytes, should have 4 for each number",
    )


def test_values_on_the_edge_and_those_without_a_range_are_right() -> None:
    edges = epochs(2)
    edges[0] |= {"validation_accuracy": 0.0, "train_sec": 0.0, "train_loss": float("nan")}
    edges[1] |= {"validation_accuracy": 1.0, "train_sec": INFINITE, "train_loss": -INFINITE}
    assert checked(edges).problems == ()


def test_an_unknown_share_is_no_problem_and_does_not_hide_one() -> None:
    rows = [row("trials", trial=number, best_validation_accuracy=None) for number in range(3)]
    assert checked(rows, "trials").problems == ()
    rows[2]["best_validation_accuracy"] = 2.0
    assert checked(rows, "trials").problems == (
        "column best_validation_accuracy, row 3: is 2.0, should lie between 0 and 1",
    )


def test_a_column_is_told_once_with_its_first_row_and_how_many_more() -> None:
    rows = epochs(9)
    for number in (3, 4, 8):
        rows[number]["validation_accuracy"] = float(number)
    for number in (1, 5):
        rows[number]["train_sec"] = -1.0
    assert checked(rows).problems == (
        "column validation_accuracy, row 4: is 3.0, should lie between 0 and 1; so are 2 more rows",
        "column train_sec, row 2: is -1.0, should be 0 or more; so is 1 more row",
    )


def test_a_second_row_with_a_key_is_told() -> None:
    rows = [*epochs(3), *epochs(2)]
    told = checked(rows).problems
    assert told == ("row 4: has the key of an earlier row (trial 1, epoch 1); so is 1 more row",)


def test_keys_with_nulls_are_keys_too() -> None:
    quoted = row("timings", batch_size=None) | {"turn": None}
    assert checked([quoted, quoted | {"subject": "other"}], "timings").problems == ()
    assert checked([quoted, row("timings"), quoted], "timings").problems == (
        "row 3: has the key of an earlier row "
        "(session 1, subject text, device text, batch_size None, turn None)",
    )


def test_scores_of_one_metric_with_and_without_threshold_have_keys_of_their_own() -> None:
    mean, share = row("scores", threshold=None), row("scores")
    assert checked([mean, share, mean | {"metric": "own"}], "scores").problems == ()
    assert checked([mean, share, mean], "scores").problems == (
        "row 3: has the key of an earlier row "
        "(subject text, split text, metric text, threshold None)",
    )


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "9" * 5_000, "[" * 100_000])
def test_a_text_that_should_be_an_object_in_json_is_told(text: str) -> None:
    assert checked([row("runs", config=text)], "runs").problems == (
        "column config, row 1: is no object in JSON",
    )
    versions = [row("timings", versions=None), row("timings", versions=text, session=2)]
    assert checked(versions, "timings").problems == (
        "column versions, row 2: is no object in JSON",
    )


def test_a_run_has_one_row_of_its_own() -> None:
    assert checked([row("runs"), row("runs")], "runs").problems == (
        "row 2: has the key of an earlier row (one row a run)",
    )


def test_a_table_without_rows_is_sound() -> None:
    assert [table for table in TABLES if checked([], table).problems] == []


@pytest.mark.parametrize(
    ("change", "problems"),
    [
        (
            lambda t: t.append_column("mood", pa.array(["good"])).append_column(
                "more", pa.array([1])
            ),
            [f"column {name}: the table epochs has none of that name" for name in ("mood", "more")],
        ),
        (
            lambda t: t.set_column(1, "trial", pa.array([1])).set_column(
                2, "epoch", pa.array(["7"])
            ),
            ["column trial: is int64, should be int32", "column epoch: is string, should be int32"],
        ),
        (lambda t: t.drop_columns(["epoch"]), ["column epoch is missing"]),
        (
            lambda t: t.replace_schema_metadata(None),
            ["its metadata says that it is no table, should be epochs"],
        ),
        (
            lambda _: with_metadata(table="trials"),
            ["its metadata says that it is the table trials, should be epochs"],
        ),
        (
            lambda _: with_metadata(schema_version=str(VERSION + 1)),
            [
                f"it has schema version {VERSION + 1}, and this transform-tuner reads "
                f"4 and {VERSION}: take the one that wrote it, or make the run again"
            ],
        ),
    ],
    ids=["unknown columns", "types", "missing", "no metadata", "other table", "other version"],
)
def test_another_form_than_the_schemas_is_told(
    change: Callable[[pa.Table], pa.Table], problems: list[str]
) -> None:
    found = check(written(change(lenient("epochs", epochs(1)))), "epochs", "fc")
    assert list(found.problems) == problems
    assert found.content is None


def test_a_column_that_came_later_may_be_missing_and_is_null_then() -> None:
    (late,) = (column.name for column in TABLES["runs"] if column.is_late)
    whole = lenient("runs", [row("runs")])
    found = check(written(whole.drop_columns([late])), "runs", "fc")
    assert (found.problems, found.is_upgraded) == ((), True)
    assert found.content == whole.set_column(
        whole.column_names.index(late), whole.schema.field(late), pa.nulls(1, pa.string())
    ).cast(arrow_schema("runs"))
    assert not check(written(whole), "runs", "fc").is_upgraded


def damaged_text() -> bytes:
    """A text column whose bytes are not UTF-8."""
    content = pa.Table.from_pylist([row("runs")], arrow_schema("runs"))
    bad = pa.Array.from_buffers(pa.string(), 1, pa.array([b"\xff\xfe"]).buffers())
    position = content.column_names.index("host")
    return written(content.set_column(position, content.schema.field(position), bad))


@pytest.mark.parametrize(
    "data",
    [b"", b"not parquet" * 99, written(lenient("runs", [row("runs")]))[:-50], damaged_text()],
)
def test_what_cannot_be_read_is_told_in_one_line(data: bytes) -> None:
    (problem,) = check(data, "runs", "fc").problems
    assert problem.startswith("can't be read: ")
    assert "\n" not in problem
