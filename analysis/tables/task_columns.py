"""What the runs table says of a run's task, both ways."""

import json
from typing import Any

from analysis.tables.files import Row
from trainables.tasks import Task

SIZES = ("image_height", "image_width", "output_channels", "output_height", "output_width")


def task_columns(task: Task, probes: bytes) -> Row:
    """Return the columns of the runs table that describe a task.

    Args:
        task: What the run's networks do.
        probes: What is kept of the pipeline's outputs on its probe images.
    """
    return {
        "pipeline": task.pipeline,
        "takes": task.takes,
        "batched": task.batched,
        "steps": json.dumps(task.steps),
        "image_height": task.input_shape[1],
        "image_width": task.input_shape[2],
        "output_channels": task.output_shape[0],
        "output_height": task.output_shape[1],
        "output_width": task.output_shape[2],
        "output_low": task.low,
        "output_high": task.high,
        "affine_residual": task.affine_residual,
        "offset": task.offset,
        "kronecker_rank": task.kronecker_rank,
        "probe_outputs": probes,
    }


def task_of(run: Any) -> Task:
    """Return the task that a row of the runs table describes: a dictionary, or as pandas has it."""
    sizes = {name: int(run[name]) for name in SIZES}
    rank, residual = (
        None if run[name] is None or run[name] != run[name] else run[name]  # pandas has NaN
        for name in ("kronecker_rank", "affine_residual")
    )
    return Task(
        pipeline=str(run["pipeline"]),
        input_shape=(3, sizes["image_height"], sizes["image_width"]),
        output_shape=(sizes["output_channels"], sizes["output_height"], sizes["output_width"]),
        low=float(run["output_low"]),
        high=float(run["output_high"]),
        takes=str(run["takes"]),
        batched=bool(run["batched"]),
        steps=tuple(json.loads(run["steps"])),
        affine_residual=None if residual is None else float(residual),
        offset=bool(run["offset"]),
        kronecker_rank=None if rank is None else int(rank),
    )
