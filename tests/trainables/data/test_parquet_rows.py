"""Rows of parquet files, as people have them: bytes, names of files, structs of both."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from trainables.data.parquet_rows import columns, image_column, rows
from trainables.data.pixels import UnreadableError

STRUCT = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
FIRST = {"bytes": b"first", "path": None}
NAMED = {"bytes": None, "path": "a.png"}


def read(
    directory: Path, table: dict[str, Any], *, file: str = "train.parquet", images: Collection[str]
) -> list[bytes | str]:
    """What each row holds, or what it is called and why it can't be read."""
    (directory / file).parent.mkdir(exist_ok=True)
    pq.write_table(pa.table(table), directory / file)
    held: list[bytes | str] = []
    for name, encoded in rows(directory, file, images):
        try:
            held.append(encoded())
        except UnreadableError as error:
            held.append(f"{name}: {error}")
    return held


@pytest.mark.parametrize(
    "column",
    [
        pa.array([FIRST, {"bytes": b"second", "path": "second.png"}], STRUCT),
        pa.array([b"first", b"second"]),
        pa.array([b"first", b"second"], pa.large_binary()),
        pa.array([b"first", b"second"], pa.binary_view()),
        pa.array([b"first", b"second"]).dictionary_encode(),
        pa.array([{"bytes": b"first"}, {"bytes": b"second"}]),
    ],
    ids=["struct", "bytes", "large bytes", "views", "dictionary", "struct without paths"],
)
def test_encoded_images_are_read_in_order(tmp_path: Path, column: pa.Array) -> None:
    assert read(tmp_path, {"label": [0, 1], "img": column}, images=()) == [b"first", b"second"]


@pytest.mark.parametrize(
    "column",
    [
        pa.array(["a.png", "deep/b.png"]),
        pa.array(["a.png", "deep/b.png"], pa.large_string()),
        pa.array([NAMED, {"bytes": b"", "path": "deep/b.png"}], STRUCT),
        pa.array([{"path": "a.png"}, {"path": "./deep/../deep/b.png"}]),
    ],
    ids=["text", "large text", "struct", "struct without bytes"],
)
@pytest.mark.parametrize("file", ["train.parquet", "deep/train.parquet"])
def test_names_of_files_are_followed(tmp_path: Path, column: pa.Array, file: str) -> None:
    for name in ("a.png", "deep/b.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    held = read(tmp_path, {"image": column}, file=file, images={"a.png", "deep/b.png"})
    assert held == [b"a.png", b"deep/b.png"]


def test_a_name_is_that_of_a_file_beside_the_table_first(tmp_path: Path) -> None:
    for name in ("a.png", "deep/a.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    given = {"image": ["a.png", str(tmp_path / "a.png")]}
    held = read(tmp_path, given, file="deep/t.parquet", images={"a.png", "deep/a.png"})
    assert held == [b"deep/a.png", b"a.png"]


def test_no_row_reads_a_file_from_outside_the_directory(tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_text("outside")
    outside = str(tmp_path / "secret.png")
    (tmp_path / "mine").mkdir()
    held = read(tmp_path / "mine", {"image": ["../secret.png", outside]}, images=())
    assert held == [
        "train.parquet, row 0: '../secret.png' is no image file of that directory",
        f"train.parquet, row 1: {outside!r} is no image file of that directory",
    ]


def test_a_row_with_nothing_in_it_is_called_by_its_number(tmp_path: Path) -> None:
    column = pa.array([FIRST, None, {"bytes": None, "path": None}, *[FIRST] * 9, None], STRUCT)
    held = read(tmp_path, {"image": column}, images=())
    assert len(held) == 13
    empty = [row for row in held if row != b"first"]
    assert empty == [f"train.parquet, row {number}: null" for number in (1, 2, 12)]


@pytest.mark.parametrize("held", [10**15, [1, 2], {"a": 1}])
def test_a_struct_of_anything_else_is_no_image(tmp_path: Path, held: Any) -> None:
    (told,) = read(tmp_path, {"image": [{"bytes": held}]}, images=())
    assert told == "train.parquet, row 0: neither bytes nor the name of a file"


@pytest.mark.parametrize(
    ("column", "kind"),
    [
        (pa.array([["a.png"], ["b.png"]]), "list<element: string>"),
        (pa.array([[[1, 2]], [[3, 4]]]), "list<element: list<element: int64>>"),
        (pa.array([1, 2]), "int64"),
        (pa.array([{"data": b""}]), "struct<data: binary>"),
        (pa.nulls(3), "null"),
    ],
    ids=["lists of names", "lists of numbers", "numbers", "other structs", "nulls"],
)
def test_a_column_that_holds_no_images_is_told_once(
    tmp_path: Path, column: pa.Array, kind: str
) -> None:
    (told,) = read(tmp_path, {"pixel_values": column}, images=())
    assert told == (
        f"train.parquet: column pixel_values holds {kind}, where bytes, names of files or structs "
        f"of both are needed"
    )


@pytest.mark.parametrize(
    ("names", "column"),
    [
        (["label", "image"], "image"),
        (["Image", "label"], "Image"),
        (["pixel_values", "image", "img"], "img"),
        (["pixel_values"], "pixel_values"),
        (["label", "images"], None),
    ],
)
def test_the_column_is_known_by_its_name(names: list[str], column: str | None) -> None:
    assert image_column(names) == column


def test_a_file_that_is_no_parquet_is_told(tmp_path: Path) -> None:
    (tmp_path / "train.parquet").write_bytes(b"not parquet")
    with pytest.raises(UnreadableError, match=r"not parquet: .*magic bytes"):
        columns(tmp_path / "train.parquet")


def test_a_file_that_breaks_off_is_told_with_the_row_from_which_on(tmp_path: Path) -> None:
    file = tmp_path / "train.parquet"
    noise = [bytes([number]) * 1000 for number in range(40)]
    pq.write_table(pa.table({"image": noise}), file, compression="gzip", row_group_size=16)
    place = pq.read_metadata(file).row_group(1).column(0).data_page_offset
    content = bytearray(file.read_bytes())
    content[place : place + 40] = bytes(40)
    file.write_bytes(content)
    held = list(rows(tmp_path, "train.parquet", ()))
    assert [encoded() for _, encoded in held[:16]] == noise[:16]
    name, last = held[-1]
    assert (len(held), name) == (17, "train.parquet, from row 16")
    with pytest.raises(UnreadableError):
        last()


def write_rows(file: Path, image: bytes, count: int) -> None:
    """Each row in a group of its own, as they are where images are large."""
    column = pa.array([{"bytes": image, "path": None}], STRUCT)
    schema = pa.schema([("image", STRUCT)])
    with pq.ParquetWriter(file, schema, compression="zstd") as writer:
        for _ in range(count):
            writer.write_table(pa.table({"image": column}, schema))


def test_few_rows_are_in_memory_at_a_time(tmp_path: Path) -> None:
    write_rows(tmp_path / "train.parquet", bytes(2**20), 40)
    before = pa.total_allocated_bytes()
    for _, encoded in rows(tmp_path, "train.parquet", ()):
        assert len(encoded()) == 2**20
        assert pa.total_allocated_bytes() - before < 12 * 2**20


@pytest.mark.long
def test_more_than_two_gib_are_read(tmp_path: Path) -> None:
    write_rows(tmp_path / "train.parquet", bytes(2**27), 17)
    lengths = [len(encoded()) for _, encoded in rows(tmp_path, "train.parquet", ())]
    assert lengths == [2**27] * 17
