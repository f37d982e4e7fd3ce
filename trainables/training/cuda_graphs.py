"""CUDA graphs: a small network's step is a hundred launches, of which the processor makes fewer than the GPU could do.

https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs
"""

from collections.abc import Callable

import torch
from torch import Tensor

Function = Callable[[Tensor], Tensor]

WARM_UP_CALLS = 3  # real ones: kernels are chosen and libraries loaded, which can't be recorded


class Replayed:
    """Calls of one function of one tensor of unchanging shape on a GPU: recorded after some, then replayed.

    What it reads and writes beside its argument must stay in the same tensors. Its result is overwritten by the next
    call. A function that can't be recorded, since it waits for the GPU, is called as it is, and `problem` says why.
    It is given with each call: to hold a method would make a cycle that keeps its object's memory.
    """

    def __init__(self) -> None:
        self.problem = ""
        self._calls = 0
        self._stream = torch.cuda.Stream()  # no recording on the default stream, nor warm-up for it
        self._graph: torch.cuda.CUDAGraph | None = None
        self._argument = self._result = torch.empty(0)

    def __call__(self, function: Function, argument: Tensor) -> Tensor:
        """What the function returns."""
        if self.problem:
            return function(argument)
        if self._calls < WARM_UP_CALLS:
            self._calls += 1
            return self._aside(function, argument)
        if self._graph is None:
            self._graph = self._recorded(function, argument)
            if self._graph is None:
                return function(argument)
        self._argument.copy_(argument)
        self._graph.replay()
        return self._result

    def _aside(self, function: Function, argument: Tensor) -> Tensor:
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            result = function(argument)
        torch.cuda.current_stream().wait_stream(self._stream)
        return result

    def _recorded(self, function: Function, argument: Tensor) -> torch.cuda.CUDAGraph | None:
        graph = torch.cuda.CUDAGraph()
        self._argument = argument.clone()
        try:
            # thread_local: other threads of the process may use CUDA meanwhile
            with torch.cuda.graph(graph, stream=self._stream, capture_error_mode="thread_local"):
                self._result = function(self._argument)
        except RuntimeError as error:
            # what ended the recording; leaving it then fails too, and says less
            self.problem = str(error.__context__ or error).strip().partition("\n")[0]
            return None
        return graph
