"""What the runs table says of a run's task, both ways."""

import json
from typing import Any

from analysis.tables.files import Row
from trainables.tasks import Task


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
    """Return the task that a row of the runs table describes."""
    rank, residual = run["kronecker_rank"], run["affine_residual"]
    return Task(
        pipeline=run["pipeline"],
        input_shape=(3, run["image_height"], run["image_width"]),
        output_shape=(run["output_channels"], run["output_height"], run["output_width"]),
        low=run["output_low"],
        high=run["output_high"],
        takes=run["takes"],
        batched=run["batched"],
        steps=tuple(json.loads(run["steps"])),
        affine_residual=residual,
        offset=run["offset"],
        kronecker_rank=rank,
    )
