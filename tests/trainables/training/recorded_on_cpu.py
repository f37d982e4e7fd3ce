"""CUDA graphs without a GPU: operations on a CPU are recorded as a graph records kernels.

As with a graph, recording changes nothing, and replaying reads and writes the very tensors of the
recording.
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map


class Stream:
    def wait_stream(self, other: "Stream") -> None:
        """On a CPU everything is in order."""


class Graph:
    def __init__(self) -> None:
        self.operations: list[tuple[Any, Any, Any, Any]] = []
        self.replays = 0

    def replay(self) -> None:
        self.replays += 1
        with torch._C._AutoDispatchBelowAutograd():
            for function, arguments, named, results in self.operations:
                again = tree_leaves(function(*arguments, **named))
                for old, new in zip(tree_leaves(results), again, strict=True):
                    if isinstance(old, Tensor) and old.data_ptr() != new.data_ptr():
                        old.copy_(new)


class Recording(TorchDispatchMode):
    def __init__(self, graph: Graph) -> None:
        super().__init__()
        self.graph = graph
        self.before: dict[int, tuple[Tensor, Tensor]] = {}

    def __torch_dispatch__(
        self, function: Any, types: Any, arguments: Any = (), named: Any = None
    ) -> Any:
        for formal, actual in zip(function._schema.arguments, arguments, strict=False):
            if formal.alias_info and formal.alias_info.is_write:
                for tensor in tree_leaves(actual):
                    self.before.setdefault(id(tensor), (tensor, tensor.clone()))
        results = function(*arguments, **(named or {}))
        self.graph.operations.append(
            (function, *_without_gradients((arguments, named or {}, results)))
        )
        return results


def _without_gradients(tree: Any) -> Any:
    return tree_map(lambda leaf: leaf.detach() if isinstance(leaf, Tensor) else leaf, tree)


@contextmanager
def recording(graph: Graph, *, stream: Stream, capture_error_mode: str) -> Iterator[None]:
    random_state = torch.get_rng_state()
    with Recording(graph) as mode:
        yield
    torch.set_rng_state(random_state)
    with torch.no_grad():
        for tensor, before in mode.before.values():
            tensor.copy_(before)


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> list[Graph]:
    """Those that are made while the test runs."""
    made: list[Graph] = []

    def new() -> Graph:
        made.append(Graph())
        return made[-1]

    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "current_stream", Stream)
    monkeypatch.setattr(torch.cuda, "stream", nullcontext)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", new)
    monkeypatch.setattr(torch.cuda, "graph", recording)
    return made
