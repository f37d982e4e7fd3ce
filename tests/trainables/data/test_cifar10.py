import hashlib
import io
import pickle
import shutil
import socket
import tarfile
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from torchvision.datasets import CIFAR10

from trainables.data import cifar10, photos
from trainables.data.cache import CACHE_VARIABLE
from trainables.data.loading import load

IMAGES_PER_FILE = 4
BATCHES = [
    "data_batch_1",
    "data_batch_2",
    "data_batch_3",
    "data_batch_4",
    "data_batch_5",
    "test_batch",
]
PIXELS = np.random.default_rng(0).integers(
    0, 256, (len(BATCHES), IMAGES_PER_FILE, 3 * 32 * 32), dtype=np.uint8
)


class Handler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small archive in CIFAR-10's format, whose checksums torchvision is told."""
    files = {
        name: pickle.dumps({"data": data, "labels": [0] * IMAGES_PER_FILE}, protocol=2)
        for name, data in zip(BATCHES, PIXELS, strict=True)
    }
    files["batches.meta"] = pickle.dumps({"label_names": ["airplane"]}, protocol=2)
    path = tmp_path / "served" / CIFAR10.filename
    path.parent.mkdir()
    with tarfile.open(path, "w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(f"{CIFAR10.base_folder}/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    sums = {name: md5(content) for name, content in files.items()}
    monkeypatch.setattr(CIFAR10, "tgz_md5", md5(path.read_bytes()))
    monkeypatch.setattr(CIFAR10, "train_list", [[name, sums[name]] for name in BATCHES[:5]])
    monkeypatch.setattr(CIFAR10, "test_list", [["test_batch", sums["test_batch"]]])
    monkeypatch.setattr(CIFAR10, "meta", {**CIFAR10.meta, "md5": sums["batches.meta"]})
    return path


@pytest.fixture
def server(archive: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ThreadingHTTPServer]:
    with ThreadingHTTPServer(
        ("127.0.0.1", 0), partial(Handler, directory=str(archive.parent))
    ) as server:
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        monkeypatch.setattr(CIFAR10, "url", f"http://127.0.0.1:{server.server_port}/{archive.name}")
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(CIFAR10, "url", f"http://127.0.0.1:{port}/{CIFAR10.filename}")


def kept(cache: Path) -> list[str]:
    return [path.name for path in cache.iterdir() if path.suffix != ".lock"]


def test_the_images_are_those_of_the_archive(cache: Path, server: ThreadingHTTPServer) -> None:
    images = cifar10.load()
    assert np.array_equal(images.train, PIXELS[:5].reshape(-1, 3, 32, 32))
    assert np.array_equal(images.test, PIXELS[5].reshape(-1, 3, 32, 32))


def test_the_second_load_needs_no_server(cache: Path, server: ThreadingHTTPServer) -> None:
    images = cifar10.load()
    server.shutdown()
    server.server_close()
    again = cifar10.load()
    assert np.array_equal(again.train, images.train)
    assert np.array_equal(again.test, images.test)


def test_the_connect_timeout_holds_for_the_download_only(
    cache: Path, server: ThreadingHTTPServer
) -> None:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(77)
    try:
        cifar10.load()
        assert socket.getdefaulttimeout() == 77
    finally:
        socket.setdefaulttimeout(before)


@pytest.mark.parametrize("damage", ["flip", "truncate"])
def test_a_corrupt_archive_is_refused_and_leaves_nothing_behind(
    cache: Path, archive: Path, server: ThreadingHTTPServer, damage: str
) -> None:
    whole = archive.read_bytes()
    archive.write_bytes(whole[:-100] if damage == "truncate" else whole[:50] + b"XX" + whole[52:])
    with pytest.raises(OSError, match="CIFAR-10 could not be fetched"):
        cifar10.load()
    assert kept(cache) == []
    archive.write_bytes(whole)
    assert len(cifar10.load().train) == 20


def test_a_file_damaged_in_the_cache_is_named_and_never_read(
    cache: Path, server: ThreadingHTTPServer
) -> None:
    cifar10.load()
    batch = cache / "cifar10" / CIFAR10.base_folder / "test_batch"
    batch.write_bytes(b"\0" + batch.read_bytes()[1:])
    shutil.rmtree(cache / "splits")
    with pytest.raises(OSError, match="is damaged: delete that directory") as error:
        cifar10.load()
    assert str(cache / "cifar10") in str(error.value)


@pytest.mark.parametrize("source", ["auto", "cifar10"])
def test_cifar10_is_taken_where_it_can_be_had(
    cache: Path, server: ThreadingHTTPServer, source: str
) -> None:
    splits = load(source)
    assert (splits.train.source, splits.notes) == ("cifar10", ())
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (18, 2, 4)


def test_without_a_server_cifar10_is_an_error(cache: Path, no_server: None) -> None:
    with pytest.raises(ValueError, match=r"--data cifar10: .*; give --data photos"):
        load("cifar10")
    assert kept(cache) == []


def test_a_server_that_speaks_no_http_is_an_error_like_any_other(
    cache: Path, no_server: None
) -> None:
    with socket.create_server(("127.0.0.1", urlsplit(CIFAR10.url).port)) as listener:

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(b"SSH-2.0-OpenSSH\r\n")

        threading.Thread(target=answer, daemon=True).start()
        with pytest.raises(OSError, match="CIFAR-10 could not be fetched"):
            cifar10.load()
    assert kept(cache) == []


def test_without_a_server_auto_falls_back_to_photos_and_says_why(
    cache: Path, no_server: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(photos, "CROPS", {"train": 40, "validation": 10, "test": 20})
    monkeypatch.setattr(photos, "SCALES", (4.0,))
    splits = load("auto")
    assert {splits.train.source, splits.validation.source, splits.test.source} == {"photos"}
    (note,) = splits.notes
    assert note.startswith("photos: CIFAR-10 is not in the cache and could not be fetched (")
    assert "refused" in note
    assert note.endswith("): using the built-in photographs")
    assert "\n" not in note
