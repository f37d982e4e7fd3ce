"""What the runs table says of a run's task, both ways."""

import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from trainables.pipelines.catalogue import OLDER_NAMES
from trainables.pipelines.identity import is_same
from trainables.tasks import RECORDED, Task, shape_text

NAMED = 5  # runs, in a sentence
SIZES = ("image_height", "image_width", "output_channels", "output_height", "output_width")


class TaskKey(NamedTuple):
    """What tells one task from another."""

    pipeline: str
    size: str  # `32 × 32 to 1 × 28 × 28`
    version: int  # of its code, from 1


def task_columns(task: Task, probes: bytes) -> dict[str, Any]:
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


def tasks_of(runs: Iterable[Mapping[Any, Any]]) -> dict[str, TaskKey]:
    """Return what the networks of each run do, by the run's name: the same exactly where it is.

    Pipelines of one name are one as far as their outputs on the probe images agree; where they do
    not, the code was changed in between, and each has a number of its own, the oldest run's first.
    Recorded pairs likewise, by some of their test targets: their directory has many names.

    Args:
        runs: Rows of the runs table.
    """
    found: dict[str, TaskKey] = {}
    known: dict[tuple[str, str], list[bytes]] = {}
    for run in sorted(runs, key=lambda run: run["started_at"]):
        pipeline = OLDER_NAMES.get(str(run["pipeline"]), str(run["pipeline"]))
        shape = [run[f"output_{part}"] for part in ("channels", "height", "width")]
        size = f"{run['image_height']} × {run['image_width']} to {shape_text(shape)}"
        versions = known.setdefault((pipeline, size), [])
        span, outputs = run["output_high"] - run["output_low"], run["probe_outputs"]
        same = (n for n, one in enumerate(versions, 1) if is_same(one, outputs, span))
        number = next(same, len(versions) + 1)
        if number > len(versions):
            versions.append(outputs)
        found[str(run["run"])] = TaskKey(pipeline, size, number)
    return found


def changed_pipelines(tasks: Mapping[str, TaskKey]) -> list[str]:
    """Say which pipelines of one name are not one, in a line for each but the oldest of a name.

    Args:
        tasks: As `tasks_of` returns them.
    """
    runs: dict[TaskKey, list[str]] = {}
    for run, task in tasks.items():
        runs.setdefault(task, []).append(run)
    return [
        f"{_what(task.pipeline)} other outputs in {_some(runs[task])} than in "
        f"{_some(runs[task._replace(version=1)])}: these are tasks of their own, never pooled"
        for task in runs
        if task.version > 1
    ]


def _what(pipeline: str) -> str:
    return "recorded pairs have" if pipeline == RECORDED else f"{pipeline} gives"


def _some(runs: list[str]) -> str:
    more = f" and {len(runs) - NAMED} more runs" if len(runs) > NAMED else ""
    return ", ".join(runs[:NAMED]) + more


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
