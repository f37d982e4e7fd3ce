"""What a search prints before its first trial."""

import pytest

from trainables.tasks import Task
from tuner.progress.lines import pipeline_line


@pytest.mark.parametrize(
    ("residual", "told"),
    [
        (None, "from 0 to 1"),
        (2e-7, "from 0 to 1; affine within 2e-07 of its range"),
        (0.39, "from 0 to 1; 0.4 of its range from affine"),
    ],
)
def test_a_pipeline_is_called_affine_only_where_it_is(residual: float | None, told: str) -> None:
    line = pipeline_line(Task(pipeline="median", takes="array", affine_residual=residual))
    assert line.startswith("median takes an array (H, W, 3) of bytes, many at a time and makes 1")
    assert line.endswith(told)
