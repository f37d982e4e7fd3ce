"""Runs are collected from directories and from buckets; what is neither is told."""

import itertools
import threading
import urllib.request
from pathlib import Path

import pytest
from pyarrow.fs import FileSystem

from analysis.aggregate import main
from analysis.tables.table_sources import open_source
from tests.analysis.collecting import contents, count, search, spoil, state
from tests.analysis.conftest import put
from tests.waiting import until


def upload(bucket: tuple[FileSystem, str], storage: Path, folder: str) -> None:
    files, name = bucket
    for path, data in contents(storage).items():
        put(files, f"{name}{folder}/tables/{path}", data)


@pytest.mark.parametrize("folder", ["", "/team/results"])
def test_a_bucket_is_a_source_like_any_other(
    tmp_path: Path,
    bucket: tuple[FileSystem, str],
    endpoint: str,
    folder: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    a, b, out = (tmp_path / name for name in ("a", "b", "out"))
    search(a, "fc", 9)
    search(a, "two words", 2)
    search(b, "fc", 3)
    upload(bucket, a, folder)
    source = f"s3://{bucket[1]}{folder}?{endpoint}"
    assert main([str(b), source, "--out", str(out)]) == 0
    assert contents(out) == contents(a)
    spoil(a)
    upload(bucket, a, folder)
    capsys.readouterr()
    assert main([source, "--out", str(out)]) == 1
    name = f"s3://{bucket[1]}{folder}/tables/epochs/run=fc/epochs.parquet"
    assert capsys.readouterr().err.startswith(
        f"error: {name}: column validation_accuracy, row 1: is 1.3"
    )
    assert count(out) == 9


def test_an_object_that_is_replaced_while_it_is_read_is_seen_old_or_new(
    tmp_path: Path, bucket: tuple[FileSystem, str], endpoint: str
) -> None:
    search(tmp_path)
    upload(bucket, tmp_path, "")
    place = open_source(f"s3://{bucket[1]}?{endpoint}")
    sizes = (1_000, 20_000)

    def version(number: int) -> bytes:
        return b"PAR1" + bytes([number % 251]) * sizes[number % 2] + b"PAR1"

    key = f"{bucket[1]}/tables/epochs/run=fc/epochs.parquet"
    put(bucket[0], key, version(0))
    over = threading.Event()

    def write() -> None:
        for number in itertools.count(1):
            if over.is_set():
                return
            put(bucket[0], key, version(number))

    writer = threading.Thread(target=write)
    writer.start()
    seen: set[tuple[int, bool]] = set()

    def look() -> bool:
        data = place.read("epochs", "fc")
        seen.add((len(data) - 8, data in map(version, range(502))))
        return {size for size, _ in seen} >= set(sizes)

    try:
        for _ in range(40):
            look()
        until(look)
    finally:
        over.set()
        writer.join()
    assert seen == {(size, True) for size in sizes}


def test_a_refused_key_is_a_mistake_on_the_command_line(
    tmp_path: Path,
    bucket: tuple[FileSystem, str],
    endpoint: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    address = endpoint.partition("endpoint_override=")[2]

    def ask_for_keys(after: float) -> None:
        as_text = {"Content-Type": "text/plain"}
        request = urllib.request.Request(
            f"http://{address}/moto-api/reset-auth", str(after).encode(), as_text
        )
        urllib.request.urlopen(request).close()

    ask_for_keys(0)
    try:
        assert main([f"s3://{bucket[1]}?{endpoint}", "--out", str(tmp_path / "out")]) == 2
    finally:
        ask_for_keys(float("inf"))
    told = capsys.readouterr().err
    assert told.startswith(f"error: s3://{bucket[1]}?{endpoint} can't be opened: ")
    assert "AWS_ACCESS_KEY_ID" in told
    assert told.count("\n") == 1


def test_a_bucket_that_does_not_exist_is_a_mistake_on_the_command_line(
    tmp_path: Path, endpoint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([f"s3://nowhere/x?{endpoint}", "--out", str(tmp_path / "out")]) == 2
    assert "doesn't exist" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        (
            "{tmp}/nowhere",
            "{tmp}/nowhere doesn't exist: a source is a storage directory, in which tables/TABLE/",
        ),
        ("{tmp}/empty", "{tmp}/empty has no tables: a source is a storage directory"),
        ("{tmp}/file", "{tmp}/file doesn't exist: a source is a storage directory"),
        (
            "gs://bucket/x",
            "gs://bucket/x can't be opened: sources are directories and s3://BUCKET/PATH",
        ),
        ("s3://", "s3:// can't be opened: it names no bucket"),
        ("s3://bu cket", "s3://bu cket can't be opened: Cannot parse URI"),
        ("s3://b/x?mood=1", "s3://b/x?mood=1 can't be opened: Unexpected query parameter"),
        ("{tmp}/out", "--out is the source {tmp}/out: type another directory"),
        ("{tmp}/out/tables", "--out is the source {tmp}/out/tables: type another directory"),
    ],
)
def test_a_source_that_cannot_be_one_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], source: str, sentence: str
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    search(tmp_path / "out")
    before = state(tmp_path)
    good = tmp_path / "good"
    search(good)
    assert main([str(good), source.format(tmp=tmp_path), "--out", str(tmp_path / "out")]) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"error: {sentence.format(tmp=tmp_path)}")
    assert told.count("\n") == 1
    assert {
        name: file for name, file in state(tmp_path).items() if not name.startswith("good")
    } == before
