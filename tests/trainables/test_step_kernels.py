import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from trainables import gpu_kernels
from trainables.losses import squared_error
from trainables.losses.loss_settings import Perceptual
from trainables.losses.perceptual import PerceptualLoss
from trainables.networks.registry import build
from trainables.tasks import STUDY
from trainables.training.precision import Precision

from .made_up import vgg16

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
has_triton = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="Triton is not installed here"
)


@has_triton
def test_each_kernel_is_the_plain_operations_that_it_stands_for() -> None:
    environment = dict(os.environ)
    if not torch.cuda.is_available():
        environment["TRITON_INTERPRET"] = "1"
    done = subprocess.run(
        [sys.executable, "-m", "tests.trainables.kernel_checks"],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(": holds") == 8


@pytest.fixture
def fused(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """Modules in place of those with kernels; in `works`, what happens where they are tried."""
    calls: dict[str, Any] = {"applied": [], "error": None}

    def applied(name: str) -> SimpleNamespace:
        def apply(*arguments: Any) -> Any:
            if calls["error"]:
                raise calls["error"]
            calls["applied"].append(name)
            return arguments[0]

        return SimpleNamespace(apply=apply)

    module = SimpleNamespace(
        SquaredError=applied("error"),
        Linear=applied("linear"),
        convolutions=applied("convolutions").apply,
    )
    monkeypatch.setitem(sys.modules, "trainables.step_kernels", module)
    monkeypatch.setattr("trainables.step_kernels", module, raising=False)
    losses = SimpleNamespace(BetweenConvolutions=applied("between"))
    monkeypatch.setitem(sys.modules, "trainables.losses.perceptual_kernels", losses)
    ones = torch.ones
    monkeypatch.setattr(torch, "ones", lambda *shape, device: ones(*shape))
    gpu_kernels._triton_works.cache_clear()
    yield calls
    gpu_kernels._triton_works.cache_clear()


def test_a_gpu_has_the_kernels_and_a_cpu_never(fused: dict[str, Any]) -> None:
    assert squared_error.on(STUDY, CPU, "auto") is squared_error.squared_error
    assert fused["applied"] == []
    squared_error.on(STUDY, CUDA, "auto")(torch.zeros(1), torch.zeros(1))
    assert fused["applied"] == ["error", "error"]  # one to try it


def test_without_a_c_compiler_one_line_is_said_and_pytorch_does_it(
    fused: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    fused["error"] = RuntimeError("Failed to find C compiler.\nmore")
    for _ in range(2):
        assert squared_error.on(STUDY, CUDA, "auto") is squared_error.squared_error
    assert capsys.readouterr().out == (
        "training without this project's own GPU kernels, so slower: Failed to find C compiler.\n"
    )


def test_without_triton_one_line_is_said_and_pytorch_does_it(
    fused: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delattr("trainables.step_kernels")
    monkeypatch.setitem(sys.modules, "trainables.step_kernels", None)
    assert squared_error.on(STUDY, CUDA, "auto") is squared_error.squared_error
    assert capsys.readouterr().out.count("so slower") == 1


def test_on_a_gpu_the_perceptual_loss_has_its_kernel(
    fused: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainables.losses.perceptual._convolutions", lambda *arguments: [])
    for device, has in ((CPU, False), (CUDA, True)):
        loss = PerceptualLoss(
            Perceptual(), STUDY, vgg16(through=2), precision=Precision("float32", ""), device=device
        )
        assert (loss._fused is not None) is has


@pytest.mark.parametrize(("model", "autocast"), [("fc", False), ("cnn", True)])
def test_a_network_takes_them_in_training_only(
    model: str, autocast: bool, fused: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    images, network = torch.rand(2, 3, 32, 32), build(model)
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda device: autocast)
    network(images)
    assert fused["applied"] == []  # on a CPU

    def on_gpu(inputs: torch.Tensor) -> bool:
        return torch.is_grad_enabled()

    monkeypatch.setattr(f"trainables.networks.{model}.fused_step", on_gpu)
    with torch.no_grad():
        network(images)
    assert fused["applied"] == []
    if model == "fc":

        def apply(*arguments: torch.Tensor) -> torch.Tensor:
            fused["applied"].append("linear")
            return torch.nn.functional.linear(*arguments)

        monkeypatch.setattr("trainables.step_kernels.Linear.apply", apply)
    network(images)
    assert fused["applied"] == {"fc": ["linear"] * 2, "cnn": ["convolutions"]}[model]
