"""Epochs on the meta device stand for a GPU's: what waits, or lies on the wrong device, shows.

Not on PyTorch's fake CUDA tensors: autograd asks CUDA itself for their stream, and ends the
process.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from tests.trainables.made_up import task_for, vgg16
from trainables.data.examples import random_examples
from trainables.losses.loss_settings import Perceptual
from trainables.networks.registry import NETWORKS
from trainables.training.loop import Training, TrainingConfig
from trainables.training.precision import Precision

CPU, META = torch.device("cpu"), torch.device("meta")
TRAIN, BATCH = 300, 128  # the last batch is smaller
PRODUCTS = ("linear", "conv2d", "bmm", "baddbmm", "matmul", "__matmul__")
SMALL = Perceptual(layers=(2, 7), layer_weights=(1.0, 0.5), size=32)


class AsOnOneGpu(TorchDispatchMode):
    """Refuses tensors of two devices, as a GPU does.

    Numbers that are read from the meta device are zeros, and are counted, as are tensors that are
    brought there.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.waits = 0
        self.brought: list[tuple[int, ...]] = []
        self.done: set[str] = set()

    def __torch_dispatch__(
        self, function: Any, types: Any, arguments: Any = (), named: Any = None
    ) -> Any:
        """Run one operation, or refuse it."""
        name, named = function.overloadpacket.__name__, named or {}
        tensors = [leaf for leaf in tree_leaves((arguments, named)) if isinstance(leaf, Tensor)]
        self.done.add(name)
        if any(tensor.device == META for tensor in tensors):
            if name == "_local_scalar_dense":
                self.waits += 1
                return 0.0
            if name == "_to_copy" and named.get("device") == CPU:
                self.waits += 1
                return torch.zeros(tensors[0].shape, dtype=tensors[0].dtype)
            # a GPU takes single numbers from the CPU, but not where it writes
            if any(
                tensor.device == CPU and (tensor.dim() or name.endswith("_")) for tensor in tensors
            ):
                raise RuntimeError(f"{name} takes tensors of the CPU and of the GPU")
        elif name == "_to_copy" and named.get("device") == META:
            self.brought.append(tuple(tensors[0].shape))
        return function(*arguments, **named)


class Autocast(TorchFunctionMode):
    """What the networks multiply is brought to bfloat16, as PyTorch's own does on a GPU."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call a function or method of PyTorch."""
        if getattr(func, "__name__", "") in PRODUCTS:
            args = tree_map(_in_bfloat16, args)
        return func(*args, **(kwargs or {}))


def _in_bfloat16(leaf: Any) -> Any:
    is_float32 = isinstance(leaf, Tensor) and leaf.dtype == torch.float32
    return leaf.to(torch.bfloat16) if is_float32 else leaf


def autocast(precision: Precision, device: torch.device) -> AbstractContextManager[Any]:
    return Autocast() if precision.name == "bfloat16" else nullcontext()


@pytest.fixture(autouse=True)
def as_on_gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What the meta device has not."""
    monkeypatch.setattr(Precision, "autocast", autocast)
    monkeypatch.setattr(Tensor, "pin_memory", lambda tensor: tensor)
    library = torch.library.Library("aten", "IMPL")
    library.impl("_fused_adam_.tensor_lr", lambda *arguments, **named: None, "Meta")
    yield
    library._destroy()


def training(model: str, loss: str, precision: str, schedule: str = "constant") -> Training:
    task = task_for(model)
    config = TrainingConfig(
        model=model,
        task=task,
        learning_rate=1e-3,
        schedule=schedule,
        max_epochs=2,
        seed=0,
        chosen={"dropout": 0.3} if model in ("fc", "cnn") else {},
        batch_size=BATCH,
        precision=precision,
        loss=loss,
        perceptual=SMALL,
    )
    vgg = vgg16(through=7) if loss == "perceptual" else None
    return Training(
        config, random_examples(TRAIN, task), random_examples(130, task), device=META, vgg=vgg
    )


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    "loss", ["mse", "perceptual", "tests.trainables.own_losses:absolute_error"]
)
@pytest.mark.parametrize("model", NETWORKS)
def test_an_epoch_on_a_gpu_waits_for_it_twice_and_brings_it_nothing_but_an_order(
    model: str, loss: str, precision: str
) -> None:
    trained = training(model, loss, precision)
    first, second = AsOnOneGpu(), AsOnOneGpu()
    with first:
        next(trained.epochs())
    with second:
        next(trained.epochs())
    assert (first.waits, second.waits) == (2, 2)
    assert (first.brought, second.brought) == ([(TRAIN,), (TRAIN,)], [(TRAIN,)])
    assert "_fused_adam_" in second.done


@pytest.mark.parametrize("schedule", ["cosine", "one-cycle"])
def test_a_rate_that_changes_is_neither_waited_for_nor_brought(schedule: str) -> None:
    trained = training("separable", "mse", "float32", schedule)
    with AsOnOneGpu():
        next(trained.epochs())
    with AsOnOneGpu() as gpu:
        next(trained.epochs())
    assert (gpu.waits, gpu.brought) == (2, [(TRAIN,)])
    assert {"fill_", "_fused_adam_"} <= gpu.done
    assert trained.optimizer.learning_rate.device == META  # type: ignore[union-attr]


@pytest.mark.parametrize("part", ["targets", "weights", "kernel", "moments"])
def test_what_lies_on_the_cpu_is_refused(part: str) -> None:
    trained = training("cnn", "perceptual", "bfloat16")
    if part == "targets":
        object.__setattr__(trained.train, "targets", torch.rand(TRAIN, 1, 28, 28))
    elif part == "weights":
        layer = trained.network.layers[0]  # type: ignore[index]
        layer.weight = torch.nn.Parameter(torch.rand(64, 3, 4, 4))  # type: ignore[union-attr]
    elif part == "kernel":
        assert trained.perceptual is not None
        object.__setattr__(trained.perceptual._convolutions[1], "kernel", torch.rand(64, 64, 3, 3))
    else:
        trained.optimizer.first_moments[0] = torch.zeros(64, 3, 4, 4)
    with AsOnOneGpu(), pytest.raises(RuntimeError, match="takes tensors of the CPU and of the GPU"):
        trained.train_epoch(1)
