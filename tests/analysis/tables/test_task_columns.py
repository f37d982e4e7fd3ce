from dataclasses import replace

import pandas as pd
import pytest

from analysis.tables.task_columns import changed_pipelines, task_columns, task_of, tasks_of
from trainables.tasks import STUDY, Task

OWN = Task(
    pipeline="mine.py:blur",
    input_shape=(3, 64, 48),
    output_shape=(3, 32, 24),
    low=-2.0,
    high=2.5,
    takes="pil",
    batched=False,
    steps=("Blur", "Half"),
    offset=True,
)


@pytest.mark.parametrize("task", [STUDY, OWN, replace(OWN, affine_residual=0.004)])
def test_a_task_is_read_back_as_it_was_from_a_row_and_from_pandas(task: Task) -> None:
    row = task_columns(task, b"outputs")
    assert task_of(row) == task
    others = task_columns(replace(OWN, kronecker_rank=2, affine_residual=0.1), b"outputs")
    frame = pd.DataFrame([row, others])
    assert task_of(frame.iloc[0]) == task
    assert repr(task_of(frame.iloc[0])) == repr(task)


def test_other_recorded_pairs_are_told_as_such() -> None:
    runs = [
        task_columns(replace(OWN, pipeline="recorded"), outputs)
        | {"run": run, "started_at": run, "data": "pairs"}
        for run, outputs in (("a", bytes(4)), ("b", b"\0\0\x80?"))
    ]
    assert changed_pipelines(tasks_of(runs)) == [
        "recorded pairs have other outputs in b than in a: these are tasks of their own, "
        "never pooled"
    ]
