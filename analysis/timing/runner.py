"""How a subject is called: its input, the call that is timed, how its output is read."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from trainables.pipelines.study import reference


def _as_it_is(images: Any) -> Any:
    return images


@dataclass(frozen=True, kw_only=True)
class Runner:
    """A subject that can be called.

    Images are (N, 3, 32, 32) uint8, results (N, 1, 28, 28) float32.

    Attributes:
        run: What is timed alone: the subject's own input to its own output.
        prepare: From images in host memory to the subject's own input, on its device.
        finish: From the subject's own output to the result.
        layout: Images as the subject's users hold them in host memory; never timed.
        expected: What it should compute, in float32 on the CPU.
    """

    run: Callable[[Any], Any]
    prepare: Callable[[Any], Any] = _as_it_is
    finish: Callable[[Any], Tensor] = _as_it_is
    layout: Callable[[Tensor], Any] = _as_it_is
    expected: Callable[[Tensor], Tensor] = reference
    network: nn.Module | None = None
    memory_format: str = "contiguous"

    def end_to_end(self, images: Any) -> Tensor:
        """Host memory to result."""
        return self.finish(self.run(self.prepare(images)))
