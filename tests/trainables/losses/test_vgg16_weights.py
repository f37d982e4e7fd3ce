import hashlib
import pickle
import random
import socket
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from tests.paths import ROOT
from tests.trainables import made_up
from tests.trainables.networks.test_weights import STARTS as NO_WEIGHTS
from trainables.data.cache import CACHE_VARIABLE
from trainables.errors import UsageError
from trainables.losses.loss_settings import (
    NORMALISATIONS,
    URLS,
)
from trainables.losses.vgg16_weights import load

WEIGHTS = made_up.vgg16().tensors
CLASSIFIER = {"classifier.0.weight": torch.zeros(8, 8), "classifier.0.bias": torch.zeros(8)}
NAME = "IMAGENET1K_V1"


class Handler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """A state dict as torchvision publishes it: the first digits of its SHA-256 end its name."""
    path = tmp_path / "served" / "vgg16.pth"
    path.parent.mkdir()
    torch.save(WEIGHTS | CLASSIFIER, path)
    return path.rename(
        path.with_name(f"vgg16-{hashlib.sha256(path.read_bytes()).hexdigest()[:8]}.pth")
    )


@pytest.fixture
def server(
    cache: Path, published: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ThreadingHTTPServer]:
    with ThreadingHTTPServer(
        ("127.0.0.1", 0), partial(Handler, directory=str(published.parent))
    ) as server:
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        monkeypatch.setitem(URLS, NAME, f"http://127.0.0.1:{server.server_port}/{published.name}")
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def no_server(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setitem(URLS, NAME, f"http://127.0.0.1:{port}/vgg16-00000000.pth")


def kept(cache: Path) -> list[str]:
    return sorted(
        str(path.relative_to(cache))
        for path in cache.rglob("*")
        if path.is_file() and path.suffix != ".lock"
    )


def equal(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(
        torch.equal(first[name], second[name]) for name in first
    )


def safetensors_file(path: Path, normalisation: str | None = "features", **changed: Tensor) -> str:
    metadata = {} if normalisation is None else {"normalisation": normalisation}
    save_file(
        {name: tensor.contiguous() for name, tensor in (WEIGHTS | changed).items()}, path, metadata
    )
    return str(path)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("kind", ["safetensors", "state dict", "old state dict"])
def test_a_file_gives_its_convolutions_in_float32(
    tmp_path: Path, kind: str, dtype: torch.dtype
) -> None:
    tensors = {name: tensor.to(dtype) for name, tensor in (WEIGHTS | CLASSIFIER).items()}
    path = tmp_path / "weights"
    if kind == "safetensors":
        save_file(tensors, path)
    else:
        torch.save(tensors, path, _use_new_zipfile_serialization=kind == "state dict")
    vgg = load(str(path), normalisation="imagenet")
    assert equal(vgg.tensors, {name: tensor.to(dtype).float() for name, tensor in WEIGHTS.items()})
    assert (vgg.normalisation, vgg.name) == (NORMALISATIONS["imagenet"], str(path))


def test_only_layers_that_are_asked_for_are_needed_and_loaded(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_file(made_up.vgg16(7).tensors, path)
    vgg = load(str(path), normalisation="features", through=5)
    assert vgg.tensors.keys() == {
        f"features.{layer}.{what}" for layer in (0, 2, 5) for what in ("weight", "bias")
    }
    with pytest.raises(
        ValueError, match=r"no tensor features\.10\.weight \(of 14, 6 are missing\)"
    ):
        load(str(path), normalisation="features", through=14)


def test_the_shared_weights_are_the_published_ones(shared_data: Path) -> None:
    """The first numbers of block1_conv1, as many pages print them from Keras, blue first."""
    vgg = load(str(shared_data / "vgg16" / "vgg16_features.safetensors"), normalisation="features")
    red, green, blue = vgg.tensors["features.0.weight"][0, :, 0, 0].tolist()
    assert [blue, green, red] == pytest.approx(
        [0.42947057, 0.55037946, 0.4800154], abs=5e-4
    )  # a file in float16
    assert len(vgg.tensors) == 26


def test_the_weights_can_be_pickled_and_outlive_their_file(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save(WEIGHTS, path)
    vgg = load(str(path), normalisation="features")
    path.write_bytes(b"\0" * path.stat().st_size)
    again = pickle.loads(pickle.dumps(vgg))
    assert equal(again.tensors, WEIGHTS)
    assert (again.normalisation, again.name) == (vgg.normalisation, vgg.name)
    assert not any(tensor.requires_grad for tensor in again.tensors.values())


@pytest.mark.parametrize("name", NORMALISATIONS)
def test_the_metadata_names_the_normalisation(tmp_path: Path, name: str) -> None:
    path = safetensors_file(tmp_path / "weights.safetensors", normalisation=name)
    assert (
        load(path).normalisation
        == load(path, normalisation=name).normalisation
        == NORMALISATIONS[name]
    )


@pytest.mark.parametrize(
    ("named", "asked", "message"),
    [
        (
            None,
            None,
            r"does not say how its input is normalised; "
            r"give --vgg-normalisation imagenet .* or features",
        ),
        (
            "imagenet",
            "features",
            "--vgg-normalisation features: .* was trained with imagenet; leave",
        ),
        ("caffe", None, "names the normalisation 'caffe', which is none of imagenet, features"),
    ],
)
def test_a_normalisation_that_is_not_known_is_an_error(
    tmp_path: Path, named: str | None, asked: str | None, message: str
) -> None:
    path = safetensors_file(tmp_path / "weights.safetensors", normalisation=named)
    with pytest.raises(UsageError, match=message):
        load(path, normalisation=asked)


def test_published_weights_have_a_normalisation_of_their_own(no_server: None) -> None:
    with pytest.raises(
        ValueError, match="IMAGENET1K_V1 was trained with imagenet; leave --vgg-normalisation out"
    ):
        load(NAME, normalisation="features")


class Code:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def text(path: Path) -> None:
    path.write_text("no weights")


def empty(path: Path) -> None:
    path.touch()


def cut_safetensors(path: Path) -> None:
    path.write_bytes(Path(safetensors_file(path)).read_bytes()[:-4])


def cut_state_dict(path: Path) -> None:
    torch.save(WEIGHTS, path)
    path.write_bytes(path.read_bytes()[:-100_000])


def cut_old_state_dict(path: Path) -> None:
    torch.save(WEIGHTS, path, _use_new_zipfile_serialization=False)
    path.write_bytes(path.read_bytes()[:-100_000])


def code(path: Path) -> None:
    torch.save(WEIGHTS | {"code": Code(path.with_name("ran"))}, path)


def old_code(path: Path) -> None:
    torch.save(
        WEIGHTS | {"code": Code(path.with_name("ran"))}, path, _use_new_zipfile_serialization=False
    )


def one_tensor(path: Path) -> None:
    torch.save(torch.zeros(3), path)


def other_names(path: Path) -> None:
    torch.save({name.removeprefix("features."): tensor for name, tensor in WEIGHTS.items()}, path)


def other_shape(path: Path) -> None:
    safetensors_file(path, **{"features.5.weight": torch.zeros(128, 64, 5, 5)})


def integers(path: Path) -> None:
    safetensors_file(path, **{"features.5.bias": torch.zeros(128, dtype=torch.int64)})


def infinite(path: Path) -> None:
    safetensors_file(path, **{"features.28.bias": torch.full((512,), torch.inf)})


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (text, "the file can't be read"),
        (empty, "the file can't be read"),
        (cut_safetensors, "the file can't be read"),
        (cut_state_dict, "the file can't be read"),
        (cut_old_state_dict, "the file can't be read"),
        (code, "the file can't be read"),
        (old_code, "the file can't be read"),
        (one_tensor, "it holds a Tensor instead of tensors by name"),
        (other_names, r"it has no tensor features\.0\.weight \(of 26, 26 are missing\)"),
        (
            other_shape,
            r"features\.5\.weight must have the shape \(128, 64, 3, 3\), but has \(128, 64, 5, 5\)",
        ),
        (integers, r"features\.5\.bias must hold finite floating-point numbers"),
        (infinite, r"features\.28\.bias must hold finite floating-point numbers"),
    ],
)
def test_a_file_that_does_not_fit_is_named_with_the_reason(
    tmp_path: Path, write: Callable[[Path], None], message: str
) -> None:
    path = tmp_path / "weights"
    write(path)
    with pytest.raises(UsageError, match=message) as error:
        load(str(path), normalisation="imagenet")
    assert str(error.value).startswith(f"--vgg-weights {path}: ")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "ran").exists()


def test_a_source_that_is_neither_name_nor_file_says_what_is_one(tmp_path: Path) -> None:
    for source in ("IMAGENET1K_V2", str(tmp_path)):
        with pytest.raises(
            ValueError, match=r"no such file; give a safetensors file, .*IMAGENET1K_V1, IMAGENET"
        ):
            load(source)


def test_published_weights_are_fetched_once_and_only_the_convolutions_kept(
    cache: Path, server: ThreadingHTTPServer, capfd: pytest.CaptureFixture[str]
) -> None:
    vgg = load(NAME)
    assert equal(vgg.tensors, WEIGHTS)
    assert (vgg.normalisation, vgg.name) == (NORMALISATIONS["imagenet"], NAME)
    assert "100%" in capfd.readouterr().err
    assert kept(cache) == [f"vgg16/{NAME}/convolutions.safetensors"]
    server.shutdown()
    server.server_close()
    assert equal(load(NAME).tensors, WEIGHTS)
    assert load(NAME, through=2).tensors.keys() == made_up.vgg16(2).tensors.keys()


def test_what_was_fetched_is_a_file_that_can_be_given_elsewhere(
    cache: Path, server: ThreadingHTTPServer
) -> None:
    load(NAME)
    path = cache / kept(cache)[0]
    assert load_file(path).keys() == WEIGHTS.keys()
    assert load(str(path)).normalisation == NORMALISATIONS["imagenet"]


def test_several_that_fetch_at_once_download_once(cache: Path, server: ThreadingHTTPServer) -> None:
    asked: list[str] = []
    served = server.RequestHandlerClass
    server.RequestHandlerClass = lambda *args: (asked.append("GET"), served(*args))  # type: ignore[assignment]
    threads = [threading.Thread(target=load, args=(NAME,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert asked == ["GET"]
    assert equal(load(NAME).tensors, WEIGHTS)


@pytest.mark.parametrize("damage", ["flip", "truncate"])
def test_a_download_whose_checksum_differs_is_refused_and_leaves_nothing_behind(
    cache: Path, published: Path, server: ThreadingHTTPServer, damage: str
) -> None:
    whole = published.read_bytes()
    published.write_bytes(
        whole[:-100] if damage == "truncate" else whole[:5000] + b"XX" + whole[5002:]
    )
    with pytest.raises(UsageError, match=r"could not be fetched \(invalid hash value"):
        load(NAME)
    assert kept(cache) == []
    published.write_bytes(whole)
    assert equal(load(NAME).tensors, WEIGHTS)


def test_a_damaged_file_in_the_cache_is_named_with_what_to_delete(
    cache: Path, server: ThreadingHTTPServer
) -> None:
    load(NAME)
    path = cache / kept(cache)[0]
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(
        ValueError, match=r"the file can't be read .*; delete .* to fetch it again"
    ) as error:
        load(NAME)
    assert str(path.parent) in str(error.value)


def test_without_a_network_one_sentence_says_how_to_bring_the_file(
    cache: Path, no_server: None
) -> None:
    with pytest.raises(UsageError, match="not in the cache and could not be fetched") as error:
        load(NAME)
    sentence = str(error.value)
    assert "\n" not in sentence
    assert "refused" in sentence
    assert URLS[NAME] in sentence
    assert sentence.endswith("give --vgg-weights FILE --vgg-normalisation imagenet")
    assert kept(cache) == []


def test_a_server_that_never_answers_is_given_up(
    cache: Path, no_server: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainables.data.cache.CONNECT_SEC", 0.2)
    address = ("127.0.0.1", urlsplit(URLS[NAME]).port)
    with (
        socket.create_server(address),
        pytest.raises(UsageError, match=r"could not be fetched \(.*timed out"),
    ):
        load(NAME)
    assert kept(cache) == []


PEAK = """
import sys
from pathlib import Path
from trainables.losses.vgg16_weights import read

def peak_mib():
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))

before = peak_mib()
for path in sys.argv[1:]:
    read(Path(path), 2)
print(peak_mib() - before)
"""


def test_the_classifier_is_never_in_memory(tmp_path: Path) -> None:
    tensors = made_up.vgg16(2).tensors | {"classifier.0.weight": torch.ones(60 * 2**18)}
    paths = {tmp_path / "mapped.pth": True, tmp_path / "skipped.pth": False}
    for path, zipped in paths.items():
        torch.save(tensors, path, _use_new_zipfile_serialization=zipped)
        assert path.stat().st_size > 60 * 2**20
    command = [sys.executable, "-c", PEAK, *map(str, paths)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert float(done.stdout) < 30


@pytest.mark.parametrize("old", [False, True], ids=["zip", "before 1.6"])
def test_whatever_is_no_weights_file_is_refused_in_one_sentence(
    tmp_path: Path, old: bool, recwarn: pytest.WarningsRecorder
) -> None:
    path, luck = tmp_path / "a.pth", random.Random(0)
    torch.save(
        {"features.0.weight": torch.rand(2, 2)}, path, _use_new_zipfile_serialization=not old
    )
    for start in (*NO_WEIGHTS, path.read_bytes()) * 20:
        data = bytearray(start)
        for _ in range(luck.randrange(1, 4)):
            data[luck.randrange(len(data))] = luck.randrange(256)
        path.write_bytes(data)
        with pytest.raises(UsageError) as error:
            load(str(path), normalisation="imagenet")
        assert str(error.value).startswith(f"--vgg-weights {path}: ")
        assert "\n" not in str(error.value)
    assert not recwarn.list


@pytest.mark.parametrize(
    "strange", [torch.Tensor.to_sparse, partial(torch.Tensor.to, device="meta")]
)
def test_tensors_without_numbers_of_their_own_are_refused(
    tmp_path: Path, strange: Callable[[Tensor], Tensor]
) -> None:
    path = tmp_path / "a.pth"
    torch.save(WEIGHTS | {"features.0.bias": strange(WEIGHTS["features.0.bias"])}, path)
    with (
        warnings.catch_warnings(action="ignore"),  # PyTorch's, that sparse tensors take long
        pytest.raises(UsageError, match=r"features\.0\.bias must hold finite floating-point"),
    ):
        load(str(path), normalisation="imagenet")
