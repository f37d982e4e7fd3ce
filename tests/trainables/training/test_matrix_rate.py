"""By a clock that tells given moments, so that no test depends on how busy the machine is."""

import itertools
from types import SimpleNamespace

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from trainables.training import matrix_rate
from trainables.training.matrix_rate import finish, matrix_gflops, shortest_sec

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def pretend(monkeypatch: pytest.MonkeyPatch, seconds: list[float]) -> None:
    """Each measurement lasts as long as given, and the next one starts a second after it."""
    moments = iter([0.0, *itertools.accumulate(sec for one in seconds for sec in (one, 1.0))])
    monkeypatch.setattr(matrix_rate, "time", SimpleNamespace(perf_counter=lambda: next(moments)))


def test_the_shortest_of_several_tries_counts_but_never_the_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pretend(monkeypatch, [0.001, 4.0, 2.5, 8.0, 3.0, 5.0])
    runs: list[int] = []
    assert shortest_sec(lambda: runs.append(1), CPU) == 2.5
    assert len(runs) == 1 + matrix_rate.TRIES


def test_a_gpu_is_waited_for_after_each_try_and_a_cpu_never(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    happened: list[str] = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: happened.append(device.type))
    shortest_sec(lambda: happened.append("run"), CUDA)
    assert happened == ["run", "cuda"] * (1 + matrix_rate.TRIES)
    happened.clear()
    finish(CPU)
    assert happened == []


@pytest.mark.parametrize(
    ("precision", "multiplied"),
    [("float32", torch.float32), ("tf32", torch.float32), ("bfloat16", torch.bfloat16)],
)
def test_the_rate_is_that_of_a_square_product_in_what_the_precision_multiplies(
    precision: str, multiplied: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    products: list[tuple[torch.dtype, torch.Size, torch.Size]] = []

    class Products(TorchDispatchMode):
        def __torch_dispatch__(self, function, _, arguments=(), more=None):
            if function is torch.ops.aten.mm.default:
                products.append((arguments[0].dtype, arguments[0].shape, arguments[1].shape))
            return function(*arguments, **(more or {}))

    monkeypatch.setattr(matrix_rate, "MATRIX_SIZE", {"cpu": 50})
    pretend(monkeypatch, [9.0, 9.0, 9.0, 4.0, 9.0, 9.0])
    with Products():
        found = matrix_gflops(CPU, precision)
    assert set(products) == {(multiplied, (50, 50), (50, 50))}
    assert found == pytest.approx(2 * 50**3 / 4.0 / 1e9)
