"""Exports are run as users run them: by processes that know nothing of this project."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import nn

from tests.trainables.made_up import task_for
from trainables.data.examples import Examples, as_float
from trainables.export import ENDINGS, TOLERANCE, export, load_exported, main
from trainables.networks.registry import NETWORKS, build
from trainables.networks.separable import Separable
from trainables.networks.weights import SavedNetwork, load_network, save_network
from trainables.tasks import STUDY, Task

HERE = "tests.trainables.test_export"

REFUSE = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {refused}:
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Refuse())
for name in {refused}:
    try:
        __import__(name)
    except ModuleNotFoundError:
        continue
    sys.exit(name + " can be imported")
"""
ONLY = {
    "onnx": """
import numpy, onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
images, = session.get_inputs()
outputs, = session.get_outputs()
print(images.name, images.type, images.shape[1:], outputs.name, outputs.type)
numpy.save(sys.argv[3], session.run(["outputs"], {"images": numpy.load(sys.argv[2])})[0])
""",
    "torch": """
import numpy, torch
network = torch.export.load(sys.argv[1]).module()
numpy.save(sys.argv[3], network(torch.from_numpy(numpy.load(sys.argv[2]))).detach().numpy())
""",
}


class Mine(Separable):
    """Works, and is not registered."""


class OfTwo(Separable):
    """Takes two images and no other number."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return super().forward(images.view(2, 3, 32, 32))


class TwoFaced(nn.Module):
    """Computes something else while it is exported."""

    space: ClassVar = {}
    added = 1.5 * TOLERANCE

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 1, 5)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        outputs: torch.Tensor = self.layer(images)
        return outputs + self.added if torch.compiler.is_compiling() else outputs


class NotANumber(TwoFaced):
    """Computes NaN while it is exported."""

    added = float("nan")


FAILING = {
    OfTwo: "for any number of images",
    TwoFaced: "differs from the network itself by",
    NotANumber: "by nan",
}


@pytest.fixture
def storage(tmp_path: Path) -> Path:
    """Two finished runs."""
    for run, model in (("first", "separable"), ("second", "fc")):
        torch.manual_seed(3)
        save_network(
            tmp_path / "networks" / f"run={run}" / "best.safetensors",
            build(model).state_dict(),
            SavedNetwork(model, {}, {}),
        )
    return tmp_path


def own_weights(path: Path, network: type[nn.Module]) -> Path:
    save_network(
        path, network(STUDY).state_dict(), SavedNetwork(f"{HERE}:{network.__name__}", {}, {})
    )
    return path


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


@pytest.mark.parametrize("to", ENDINGS)
@pytest.mark.parametrize("model", NETWORKS)
def test_an_export_gives_what_the_network_gives_for_any_number_of_images(
    model: str, to: str, tmp_path: Path, photographs: Examples
) -> None:
    task = task_for(model)
    network = build(model, task).eval()
    path = tmp_path / "made" / f"network{ENDINGS[to]}"
    difference = export(network, task, to, path)
    assert 0 <= difference <= 1e-5
    assert names(path.parent) == [path.name]
    exported = load_exported(path)
    with torch.inference_mode():
        for count in (1, 2, 3, 40):
            images = photographs.images[:count]
            outputs = exported(images)
            assert outputs.dtype == torch.float32
            torch.testing.assert_close(outputs, network(as_float(images)), rtol=0, atol=1e-5)


@pytest.mark.parametrize("to", ENDINGS)
def test_an_export_runs_where_this_project_is_not_installed(
    to: str, tmp_path: Path, photographs: Examples
) -> None:
    network = build("cnn", dropout=0.4).train()  # dropout is of no concern to whoever runs it
    path = tmp_path / f"network{ENDINGS[to]}"
    export(network, STUDY, to, path)
    images = photographs.images[:5]
    np.save(tmp_path / "images.npy", images.numpy())
    refused = {
        "trainables",
        "analysis",
        "tuner",
        *(("torch", "onnx", "onnxscript") if to == "onnx" else ()),
    }
    code = REFUSE.replace("{refused}", repr(refused)) + ONLY[to]
    files = [str(path), str(tmp_path / "images.npy"), str(tmp_path / "outputs.npy")]
    done = subprocess.run(
        [sys.executable, "-I", "-c", code, *files],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    if to == "onnx":
        assert done.stdout == "images tensor(uint8) [3, 32, 32] outputs tensor(float)\n"
    with torch.inference_mode():
        expected = network.eval()(as_float(images)).numpy()
    np.testing.assert_allclose(np.load(tmp_path / "outputs.npy"), expected, rtol=0, atol=1e-5)


def test_the_command_takes_a_run_by_its_name_and_says_what_it_wrote(
    storage: Path, photographs: Examples, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["second", "--to", "torch", "--storage", str(storage)]) == 0
    printed = capsys.readouterr().out
    path = storage / "networks" / "run=second" / "best.pt2"
    size = f"{path.stat().st_size:,} bytes"
    assert printed.splitlines()[-1].startswith(
        f"{path}  {size}; differs from best.safetensors by at most "
    )
    network = load_network(path.with_suffix(".safetensors"))
    images = photographs.images[:3]
    with torch.inference_mode():
        torch.testing.assert_close(
            load_exported(path)(images), network(as_float(images)), rtol=0, atol=1e-5
        )


def test_the_command_takes_a_weights_file_and_a_place_to_write_to(
    storage: Path, photographs: Examples, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = storage / "networks" / "run=first" / "best.safetensors"
    out = storage / "elsewhere" / "net.pt2"
    assert main([str(weights), "--to", "torch", "--out", str(out)]) == 0
    assert str(out) in capsys.readouterr().out
    assert names(out.parent) == ["net.pt2"]
    assert names(weights.parent) == ["best.safetensors"]
    images = photographs.images[:3]
    with torch.inference_mode():
        expected = load_network(weights)(as_float(images))
        torch.testing.assert_close(load_exported(out)(images), expected, rtol=0, atol=1e-5)


def test_a_network_of_your_own_is_exported_when_its_class_is_given(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = own_weights(tmp_path / "own.safetensors", Mine)
    assert main([str(weights), "--to", "torch"]) == 2
    assert "Mine" in capsys.readouterr().err
    assert main([str(weights), "--to", "torch", "--model", f"{HERE}:Mine"]) == 0
    images = torch.zeros(3, 3, 32, 32, dtype=torch.uint8)
    assert load_exported(tmp_path / "own.pt2")(images).shape == (3, 1, 28, 28)


def damaged(storage: Path) -> list[str]:
    whole = (storage / "networks" / "run=first" / "best.safetensors").read_bytes()
    (storage / "damaged.safetensors").write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    return [str(storage / "damaged.safetensors")]


def text_file(storage: Path) -> list[str]:
    (storage / "text.safetensors").write_text("not safetensors")
    return [str(storage / "text.safetensors")]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            lambda storage: ["third"],
            "no finished run 'third': give one of first, second, or give a file",
        ),
        (
            lambda storage: ["first", "--storage", str(storage / "no")],
            "there is none yet: give a file",
        ),
        (
            lambda storage: ["first", "--out", "net.pt2"],
            "--out net.pt2: give a name that ends with .onnx",
        ),
        (
            lambda storage: ["first", "--to", "torch", "--out", "net.onnx"],
            "give a name that ends with .pt2",
        ),
        (lambda storage: [str(storage / "absent.safetensors")], "absent.safetensors can't be read"),
        (text_file, "text.safetensors can't be read"),
        (damaged, "damaged.safetensors is damaged: its sha256 is not that of its content"),
        (
            lambda storage: ["first", "--model", "no.such:Network"],
            "'no.such:Network' can't be imported",
        ),
        (lambda storage: ["first", "--model", "fc"], "don't fit separable"),
    ],
)
def test_a_mistake_on_the_command_line_is_one_sentence(
    storage: Path,
    arguments: Callable[[Path], list[str]],
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(storage)
    given = arguments(storage)
    before = sorted(storage.rglob("*"))
    assert main(["--storage", str(storage), *given]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert message in captured.err
    assert sorted(storage.rglob("*")) == before


@pytest.mark.parametrize("earlier", [None, b"an earlier export"])
@pytest.mark.parametrize("network", FAILING)
def test_an_export_that_fails_leaves_nothing_of_itself_and_an_earlier_one_as_it_was(
    network: type[nn.Module],
    earlier: bytes | None,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert_fails(network, "torch", earlier, tmp_path, capsys)


@pytest.mark.parametrize(("network", "earlier"), [(TwoFaced, b"an earlier export"), (OfTwo, None)])
def test_an_export_to_onnx_that_fails_leaves_nothing_of_itself_either(
    network: type[nn.Module],
    earlier: bytes | None,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert_fails(network, "onnx", earlier, tmp_path, capsys)


def assert_fails(
    network: type[nn.Module],
    to: str,
    earlier: bytes | None,
    directory: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    weights = own_weights(directory / "own.safetensors", network)
    path = weights.with_suffix(ENDINGS[to])
    if earlier:
        path.write_bytes(earlier)
    assert main([str(weights), "--to", to, "--model", f"{HERE}:{network.__name__}"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert FAILING[network] in error
    assert error.count("\n") == 1
    assert names(directory) == sorted(["own.safetensors", *([path.name] if earlier else [])])
    assert not earlier or path.read_bytes() == earlier


def test_a_place_that_can_not_be_written_to_is_said(
    storage: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (storage / "file").write_text("no directory")
    assert (
        main(["first", "--storage", str(storage), "--out", str(storage / "file" / "net.onnx")]) == 1
    )
    assert capsys.readouterr().err.startswith("error: ")


@pytest.mark.parametrize("package", ["onnxruntime", "onnxscript"])
def test_a_missing_package_is_named_together_with_how_to_get_it(
    package: str, storage: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    assert main(["first", "--storage", str(storage)]) == 1
    needed = f"ONNX needs {package}, which is not installed"
    error = f'error: {needed}: pip install "transform-tuner[export]"\n'
    assert capsys.readouterr().err == error
    assert names(storage / "networks" / "run=first") == ["best.safetensors"]
