"""CUDA graphs: a CPU makes a small network's hundred launches more slowly than a GPU does them.

https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs
"""

from collections.abc import Callable

import torch
from torch import Tensor

from trainables.errors import first_line

Step = Callable[[Tensor], Tensor]

WARM_UP_CALLS = 3  # real ones: kernels are chosen and libraries loaded, which can't be recorded


class CudaGraphStep:
    """A step on a GPU, recorded after WARM_UP_CALLS calls and replayed from then on.

    A step takes one tensor of unchanging shape. What it reads and writes beside that must stay in
    the same tensors. A step that can't be recorded, since it waits for the GPU, is called as it is,
    and `problem` says why.
    """

    def __init__(self) -> None:
        self.problem = ""
        self._calls = 0
        self._stream = torch.cuda.Stream()  # no recording on the default stream, nor warm-up for it
        self._graph: torch.cuda.CUDAGraph | None = None
        self._argument = self._result = torch.empty(0)

    def __call__(self, step: Step, argument: Tensor) -> Tensor:
        """Return what the step returns; the next call overwrites it.

        The step is given with each call: to hold a method would make a cycle that keeps its
        object's memory.
        """
        if self._calls < WARM_UP_CALLS:
            self._calls += 1
            self._stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(self._stream):
                result = step(argument)
            torch.cuda.current_stream().wait_stream(self._stream)
            return result
        if self._graph is None and not self.problem:
            self._record(step, argument)
        if self._graph is None:
            return step(argument)
        self._argument.copy_(argument)
        self._graph.replay()
        return self._result

    def _record(self, step: Step, argument: Tensor) -> None:
        graph = torch.cuda.CUDAGraph()
        self._argument = argument.clone()
        try:
            # thread_local: other threads of the process may use CUDA meanwhile
            with torch.cuda.graph(graph, stream=self._stream, capture_error_mode="thread_local"):
                self._result = step(self._argument)
            self._graph = graph
        except RuntimeError as error:
            # What ended the recording; leaving it then fails too, and says less
            self.problem = first_line(error.__context__ or error)
