"""Bytes of tensors that are alive, counted as PyTorch goes along; on the meta device too, where it computes nothing."""

import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from trainables.training.precision import Precision

# What autocast computes in bfloat16, as functions and methods are called
AUTOCAST = {
    "linear",
    "matmul",
    "__matmul__",
    "__rmatmul__",
    "mm",
    "mv",
    "bmm",
    "addmm",
    "addbmm",
    "baddbmm",
    "einsum",
}
AUTOCAST |= {f"conv{kind}{dimensions}d" for kind in ("", "_transpose") for dimensions in (1, 2, 3)}


def peak_bytes(run: Callable[[], object]) -> int:
    """The most bytes of tensors that `run` makes and that are alive at once."""
    alive = Alive()
    with alive:
        run()
    return alive.peak_bytes


class Alive(TorchDispatchMode):
    """Counts the tensors that are made while it is on, backward included; what views share counts once."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.bytes: int = 0
        self.peak_bytes: int = 0
        self._known: dict[int, weakref.ref[Any]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run one operation. What it takes and nothing made was there before, such as weights."""
        self._note((args, kwargs), made=False)
        result = func(*args, **(kwargs or {}))
        self._note(result, made=True)
        return result

    def _note(self, tensors: Any, *, made: bool) -> None:
        for tensor in tree_leaves(tensors):
            if isinstance(tensor, Tensor):
                storage = (
                    tensor.untyped_storage()
                )  # the same object for as long as the storage is there
                key, size = id(storage), storage.nbytes() if made else 0
                if key not in self._known:
                    self._known[key] = weakref.ref(storage, self._forgetting(key, size))
                    self._add(size)

    def _forgetting(self, key: int, size: int) -> Callable[[object], None]:
        def forget(_: object) -> None:
            del self._known[key]
            self._add(-size)

        return forget

    def _add(self, size: int) -> None:
        self.bytes += size
        self.peak_bytes = max(self.peak_bytes, self.bytes)


class AsOnGpu(TorchFunctionMode):
    """What a GPU does otherwise than the meta device: autocast to bfloat16, and dropout with a byte for each element.

    What autocast would bring back to float32, such as a softmax, stays as it is.
    """

    def __init__(self, precision: Precision) -> None:
        super().__init__()
        self._reduced = precision.name == "bfloat16"
        # Autocast keeps what it made of weights until the end; with each, so that no other gets its id
        self._weights: dict[int, tuple[Tensor, Tensor]] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call a function or method of PyTorch."""
        name, kwargs = getattr(func, "__name__", ""), kwargs or {}
        if name == "dropout":
            return _dropout(*args, **kwargs)
        if self._reduced and name in AUTOCAST:
            args, kwargs = tree_map(self._in_bfloat16, (args, kwargs))
        return func(*args, **kwargs)

    def _in_bfloat16(self, value: Any) -> Any:
        if not (isinstance(value, Tensor) and value.dtype == torch.float32):
            return value
        # without gradients a view of a weight says that it is a leaf that requires them
        if not (value.is_leaf and value.requires_grad) or value._is_view():
            return value.to(torch.bfloat16)
        if id(value) not in self._weights:
            self._weights[id(value)] = value, value.to(torch.bfloat16)
        return self._weights[id(value)][1]


def _dropout(
    images: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Tensor:
    return torch.native_dropout(images, p, True)[0] if training and p > 0 else images
