"""A task: a pipeline, the size of its input, and what probing showed of its output.

Plain values without PyTorch, so that they go to every process, and into tables and weights files.
The pipeline itself is code: `pipelines` calls it.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

Shape = tuple[int, int, int]  # channels, height, width

STUDY_NAME = "study"
RECORDED = "recorded"
"""What a pipeline is called of which only pairs of inputs and outputs are known."""
AFFINE_WITHIN = 1e-2
"""How far from affine, as a share of the range, a pipeline may be that is taken to be affine.

Measured: 1e-7 in float32, 2e-3 to 1e-2 where one to three steps round to 8 bits. A gamma of 0.9 has
3e-2; one of 0.45, a threshold, a median or a stretched contrast have 0.1 and more.
"""


@dataclass(frozen=True, kw_only=True)
class Task:
    """What a network is built for.

    Attributes:
        pipeline: What is to be replaced, as `--pipeline` names it.
        input_shape: Of an image: (3, height, width).
        output_shape: Of what the pipeline makes of it: (channels, height, width).
        low: The lowest value that targets have: 0 where they lie in [0, 1].
        high: The highest: 1 where they lie in [0, 1].
        takes: What the pipeline is called with, one of `pipelines.catalogue.TAKES`; empty for one
            that was recorded.
        batched: Whether it takes many images in one call.
        steps: Names of its steps, where it is a sequence of some.
        affine_residual: How far P((a + b) / 2) is from the mean of P(a) and P(b), at most, as a
            share of the range; None where nobody looked.
        offset: Whether it makes something else than black of a black image.
        kronecker_rank: Of an affine one: how many products of a matrix for rows and one for columns
            it is the sum of; None where that is not known.
    """

    pipeline: str = STUDY_NAME
    input_shape: Shape = (3, 32, 32)
    output_shape: Shape = (1, 28, 28)
    low: float = 0.0
    high: float = 1.0
    takes: str = "uint8"
    batched: bool = True
    steps: tuple[str, ...] = ()
    affine_residual: float | None = None
    offset: bool = False
    kronecker_rank: int | None = None

    @property
    def span(self) -> float:
        """How far the lowest value of targets is from the highest."""
        return self.high - self.low

    @property
    def is_affine(self) -> bool:
        """Whether it was looked at and found to be affine."""
        return self.affine_residual is not None and self.affine_residual <= AFFINE_WITHIN

    @property
    def is_unit(self) -> bool:
        """Whether targets lie in [0, 1]."""
        return (self.low, self.high) == (0.0, 1.0)

    @property
    def input_size(self) -> int:
        """Numbers of an image."""
        return math.prod(self.input_shape)

    @property
    def output_size(self) -> int:
        """Numbers of an output."""
        return math.prod(self.output_shape)

    def to_plain(self) -> dict[str, Any]:
        """Return it as JSON takes it."""
        return asdict(self)

    @classmethod
    def from_plain(cls, values: Mapping[str, Any]) -> Self:
        """Read what `to_plain` returned, or that as JSON has it.

        Raises TypeError or ValueError for anything else.
        """
        shapes = {name: _shape(values[name]) for name in ("input_shape", "output_shape")}
        task = cls(**{**values, **shapes, "steps": tuple(values["steps"])})
        ends = (task.low, task.high)
        numbers = all(isinstance(end, int | float) and math.isfinite(end) for end in ends)
        if not (numbers and isinstance(task.pipeline, str) and task.pipeline.isprintable()):
            raise ValueError(f"{values!r:.200} describes no task")
        return task


def shape_text(shape: Iterable[int]) -> str:
    """Return a shape as sentences have it: `3 × 64 × 64`."""
    return " × ".join(map(str, shape)) or "a single number"


def _shape(sizes: Any) -> Shape:
    channels, height, width = sizes
    if not all(isinstance(size, int) and 0 < size <= LONGEST_SIDE for size in sizes):
        raise ValueError(f"{sizes!r:.80} is no shape of an image")
    return channels, height, width


LONGEST_SIDE = 65_536
STUDY = Task(
    steps=("Resize", "Grayscale", "RandomHorizontalFlip", "RandomVerticalFlip"),
    affine_residual=0.0,
    kronecker_rank=1,
)
"""The study's own: resize 32 → 28, greyscale, both flips."""
