from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from trainables.data.folders import encoded_images
from trainables.errors import UsageError

STRUCT = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


@pytest.mark.parametrize("column", ["img", "image"])
def test_the_bytes_of_each_image_are_read_in_order(tmp_path: Path, column: str) -> None:
    rows = [{"bytes": content, "path": None} for content in (b"first", b"second", None)]
    table = pa.table({column: pa.array(rows, STRUCT), "label": [0, 1, 2]})
    pq.write_table(table, tmp_path / "train.parquet")
    assert encoded_images(tmp_path / "train.parquet") == [b"first", b"second", b""]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (
            {"picture": pa.array([{"bytes": b""}])},
            "has the columns picture: one must be named img or image",
        ),
        ({"img": pa.array([b""])}, "column img must hold a struct with a field `bytes`"),
        ({"img": pa.array([{"data": b""}])}, "column img must hold a struct with a field `bytes`"),
        (
            {"img": pa.array([], STRUCT)},
            "column img must hold a struct with a field `bytes`, one per image",
        ),
    ],
    ids=["missing column", "no struct", "no bytes", "no rows"],
)
def test_another_schema_is_refused(tmp_path: Path, table: dict[str, Any], message: str) -> None:
    pq.write_table(pa.table(table), tmp_path / "train.parquet")
    with pytest.raises(UsageError, match=rf"train\.parquet:? {message}"):
        encoded_images(tmp_path / "train.parquet")


def test_a_file_that_is_no_parquet_is_named(tmp_path: Path) -> None:
    (tmp_path / "train.parquet").write_bytes(b"not parquet")
    with pytest.raises(UsageError, match=r"train\.parquet can't be read as parquet"):
        encoded_images(tmp_path / "train.parquet")
