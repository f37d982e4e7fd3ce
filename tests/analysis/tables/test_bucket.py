"""A bucket and its copy here are kept in step, whichever changes, also through its absence."""

import itertools
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from moto.server import ThreadedMotoServer
from pyarrow.fs import FileSelector, FileSystem, FileType

from analysis.console import Console
from analysis.report.__main__ import main as report
from analysis.tables import bucket as buckets
from analysis.tables.bucket import Bucket, TakenError, follow, local_directory, sending
from analysis.tables.files import publish, rows_of
from tests.analysis.collecting import count, epochs, search
from tests.analysis.conftest import put
from tests.analysis.made_runs import make_run
from tests.waiting import until
from trainables.data.cache import CACHE_VARIABLE

Remote = tuple[FileSystem, str]


@pytest.fixture
def address(bucket: Remote, endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A storage in a bucket, with an empty cache here."""
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setattr(buckets, "YOUNG_SEC", 0.0)  # objects of these tests differ in size
    monkeypatch.setattr(buckets, "SEND_SEC", 0.05)
    return f"s3://{bucket[1]}/team/results?{endpoint}"


def elsewhere(address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    """The same bucket on a machine that has nothing of it."""
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "elsewhere"))
    return Bucket(address)


def objects(bucket: Remote) -> dict[str, bytes]:
    files, name = bucket
    found = files.get_file_info(FileSelector(name, recursive=True))
    return {
        info.path.removeprefix(f"{name}/team/results/"): files.open_input_stream(info.path).read()
        for info in found
        if info.type == FileType.File
    }


def kept(directory: Path) -> dict[str, bytes]:
    """Tables and networks, by their paths."""
    paths = (path for folder in ("tables", "networks") for path in (directory / folder).rglob("*"))
    return {str(path.relative_to(directory)): path.read_bytes() for path in paths if path.is_file()}


def network(storage: Path, content: bytes) -> None:
    path = storage / "networks" / "run=fc" / "best.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def test_what_a_run_writes_reaches_the_bucket_and_other_machines(
    address: str, bucket: Remote, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = Bucket(address)
    search(here.copy)
    network(here.copy, b"weights")
    (here.copy / "networks" / "run=fc" / ".part").touch()
    assert here.send("fc") == len(kept(here.copy)) - 1
    there = elsewhere(address, tmp_path, monkeypatch)
    assert there.fetch() == len(objects(bucket))
    assert kept(there.copy) == objects(bucket)
    assert "networks/run=fc/best.safetensors" in objects(bucket)


def test_only_what_has_changed_travels(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = Bucket(address)
    search(here.copy)
    here.send("fc")
    there = elsewhere(address, tmp_path, monkeypatch)
    there.fetch()
    assert (here.send("fc"), here.fetch(), there.fetch(), there.send("fc")) == (0, 0, 0, 0)
    publish(here.copy / "tables", "epochs", "fc", epochs(9))
    assert (here.send("fc"), there.fetch()) == (1, 1)
    assert count(there.copy) == 9


def test_of_one_run_only_that_one_travels(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = Bucket(address)
    for run in ("fc", "cnn"):
        search(here.copy, run)
        here.send(run)
    there = elsewhere(address, tmp_path, monkeypatch)
    there.fetch("cnn")
    assert {path.name for path in there.copy.glob("tables/*/run=*")} == {"run=cnn"}


def test_an_object_that_is_young_is_fetched_again_since_another_may_have_its_time_and_size(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(buckets, "YOUNG_SEC", 3600.0)
    here = Bucket(address)
    network(here.copy, b"first")
    here.send("fc")
    there = elsewhere(address, tmp_path, monkeypatch)
    there.fetch()
    network(here.copy, b"later")
    here.send("fc")
    there.fetch()
    assert kept(there.copy)["networks/run=fc/best.safetensors"] == b"later"


def test_what_was_not_sent_yet_survives_a_fetch(address: str, bucket: Remote) -> None:
    here = Bucket(address)
    search(here.copy)
    here.send("fc")
    publish(here.copy / "tables", "epochs", "fc", epochs(9))
    assert Bucket(address).fetch() == 0
    assert count(here.copy) == 9
    here.send("fc")
    assert kept(here.copy) == objects(bucket)


def test_what_was_not_sent_yet_survives_a_fetch_of_young_objects_too(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(buckets, "YOUNG_SEC", 3600.0)
    here = Bucket(address)
    search(here.copy)
    here.send("fc")
    there = elsewhere(address, tmp_path, monkeypatch)
    there.fetch()
    publish(there.copy / "tables", "epochs", "fc", epochs(9))
    there.fetch()
    assert count(there.copy) == 9


def test_what_changed_on_both_sides_is_the_buckets(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = Bucket(address)
    search(here.copy)
    here.send("fc")
    there = elsewhere(address, tmp_path, monkeypatch)
    there.fetch()
    publish(there.copy / "tables", "epochs", "fc", epochs(9))
    there.send("fc")
    publish(here.copy / "tables", "epochs", "fc", epochs(4))
    here.fetch()
    assert count(here.copy) == 9


def test_a_bucket_that_is_away_for_a_while_gets_everything_when_it_is_back(
    address: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    address = f"{address.partition('?')[0]}?scheme=http&endpoint_override={host}:{port}"
    here = Bucket(address)
    with sending(address, "fc", Console()):
        search(here.copy)
        until(lambda: Bucket(address).fetch() == 0)
        server.stop()
        publish(here.copy / "tables", "epochs", "fc", epochs(9))
        until(lambda: "takes nothing" in capsys.readouterr().out)
        server = ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False)
        server.start()
    there = elsewhere(address, tmp_path, monkeypatch)
    there.fetch()
    server.stop()
    assert count(there.copy) == 9


def test_nothing_is_sent_once_another_process_has_the_run(address: str, bucket: Remote) -> None:
    here = Bucket(address)
    search(here.copy)

    def taken() -> None:
        raise TakenError("by another")

    with pytest.raises(TakenError, match="by another"), sending(address, "fc", Console(), taken):
        pass
    assert objects(bucket) == {}


def test_a_bucket_that_stays_away_is_told_with_where_everything_lies(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(buckets, "CLOSE_SEC", 0.0)
    here = Bucket(address)

    def refuse(self: Bucket, run: str, confirm: Callable[[], None]) -> int:
        raise OSError("503")

    monkeypatch.setattr(Bucket, "send", refuse)
    with (
        pytest.raises(OSError, match=rf"takes nothing \(503\); all of it lies in {here.copy}"),
        sending(address, "fc", Console()),
    ):
        pass


def test_an_object_that_is_replaced_while_it_is_fetched_arrives_whole(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer, reader = Bucket(address), elsewhere(address, tmp_path, monkeypatch)
    versions = {bytes([size % 251]) * size for size in (1_000, 20_000, 300_000)}
    over = threading.Event()

    def write() -> None:
        for version in itertools.cycle(versions):
            network(writer.copy, version)
            writer.send("fc")
            if over.is_set():
                return

    thread = threading.Thread(target=write)
    thread.start()
    try:
        until(lambda: reader.fetch() > 0)
        for _ in range(40):
            reader.fetch()
            assert kept(reader.copy)["networks/run=fc/best.safetensors"] in versions
    finally:
        over.set()
        thread.join()


def test_no_key_leads_out_of_the_copy(address: str, bucket: Remote) -> None:
    for key in (
        "tables/runs/run=../../../evil",
        "tables/../run=fc/evil",
        "networks/run=fc/..",
        "else/run=fc/evil",
    ):
        put(bucket[0], f"{bucket[1]}/team/results/{key}", b"evil")
    here = Bucket(address)
    before = sorted(here.copy.parent.parent.rglob("*"))
    assert here.fetch() == 0
    assert set(here.copy.parent.parent.rglob("*")) - set(before) <= {
        here.copy / ".lock",
        here.copy / ".synced.json",
    }


@pytest.mark.parametrize(
    ("storage", "told"),
    [
        ("s3://no-such-bucket/path", "there is no bucket no-such-bucket: make it first"),
        (
            "s3://KEY:SECRET@bucket/path",
            "a bucket's keys belong into AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        ),
    ],
)
def test_an_address_that_can_not_be_opened_is_told(storage: str, told: str, endpoint: str) -> None:
    with pytest.raises(ValueError, match=told):
        local_directory(f"{storage}?{endpoint}")


def test_a_reader_that_follows_a_bucket_sees_what_others_write(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(buckets, "FETCH_SEC", 0.05)
    writer = Bucket(address)
    followed = follow(elsewhere(address, tmp_path, monkeypatch) and address)
    assert followed != writer.copy
    search(writer.copy)
    writer.send("fc")
    until(lambda: bool(rows_of(followed / "tables", "runs", "fc")))


def test_a_report_is_made_from_a_bucket_and_names_it(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = Bucket(address)
    make_run(here.copy, "fc", trials=3, epochs=2)
    here.send("fc")
    elsewhere(address, tmp_path, monkeypatch)
    assert report(["fc", "--storage", address, "--out", str(tmp_path / "out")]) == 0
    page = (tmp_path / "out" / "report.html").read_text()
    assert f"--storage &#39;{address.partition('?')[0]}" in page
    assert str(here.copy) not in page
