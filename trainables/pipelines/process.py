"""The process in which a person's pipeline runs: it is probed, and makes the targets.

    python -m trainables.pipelines.process

`catalogue.started` starts it, and `own` asks it.
"""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainables import own_process
from trainables.data.examples import range_of
from trainables.errors import UsageError
from trainables.linear import examine
from trainables.own_process import TOLD_AFTER_SEC, Say, saying
from trainables.pipelines import kept_targets
from trainables.pipelines.calling import Calls, Pipeline
from trainables.pipelines.catalogue import load
from trainables.pipelines.identity import SAME_WITHIN, is_same, kept, probe_images
from trainables.pipelines.kept_targets import Kept
from trainables.pipelines.making import WHOLE, Job, Making, Workers, read
from trainables.pipelines.probing import probe, without
from trainables.tasks import Task

HEARD_AFTER, HEARD_SEC = 16, 10.0  # images at most, and seconds, until a line is said
MADE_AGAIN = 256  # random ones of the targets that were kept
AGAIN_SEC = 20.0  # for which there are fewer
FEWEST_AGAIN = 8

Chosen = Mapping[str, NDArray[np.int64]]
"""Numbers of images, by split."""


def work(arguments: dict[str, Any], say: Say) -> dict[str, Any]:
    """Probe a pipeline, make all targets, and tell what there is to know of it.

    Args:
        arguments: `pipeline`; `takes`; `cores`; and `directory`, where each split lies as
            SPLIT.npy, (N, 3, H, W) uint8, and its targets go to SPLIT.targets.npy.
        say: Gets lines of progress.

    Raises:
        UsageError: The pipeline can't be asked about.
    """
    torch.set_num_threads(1)
    directory, name = Path(arguments["directory"]), arguments["pipeline"]
    workers = Workers(arguments["cores"])
    pipeline = load(name)
    images = {path.stem: read(path) for path in sorted(directory.glob("*.npy"))}
    probed = probe(name, pipeline, images["train"], arguments["takes"])
    task = probed.task
    call = _Heard(Calls(pipeline, task.takes, batched=task.batched), say, probed.call_sec)
    probes = call(probe_images(task.input_shape))
    making = Making(task, directory, images, probed.call_sec, workers, say)
    left_out = [step for step, shorter in without(pipeline) if _fits(shorter, task, images)]
    jobs = [(split, WHOLE) for split in images] + [("test", step) for step in left_out]
    note = _make_or_recall(making, jobs, kept(probes))
    workers.close()
    torch.set_num_threads(arguments["cores"])  # which nobody else needs now: a map is large sums
    lowest, highest = range_of(making.targets("train"))
    task = replace(task, low=lowest, high=highest)
    task, affine = examine(call, task, images["train"])
    tensors = {} if affine is None else affine.to_tensors()
    for part, tensor in tensors.items():
        np.save(directory / f"affine.{part}.npy", tensor.numpy())
    np.save(directory / "probes.npy", probes.numpy())
    return {"task": task.to_plain(), "without": left_out, "affine": list(tensors), "note": note}


class _Heard:
    """A pipeline that says now and then that it is at work: long silence is taken for a hang."""

    def __init__(self, call: Pipeline, say: Say, call_sec: float) -> None:
        self._call, self._say = call, say
        self._part = max(1, min(HEARD_AFTER, int(HEARD_SEC / max(call_sec, 1e-9))))
        self._next = time.monotonic() + TOLD_AFTER_SEC

    def __call__(self, images: Tensor) -> Tensor:
        outputs = []
        for part in images.split(self._part):
            outputs.append(self._call(part))
            if time.monotonic() > self._next:
                self._next = time.monotonic() + TOLD_AFTER_SEC
                self._say("looking whether the pipeline is affine")
        return torch.cat(outputs)


def _fits(shorter: Callable[..., Any], task: Task, images: Mapping[str, Tensor]) -> bool:
    """Tell whether a pipeline without one of its steps still gives outputs of the task's shape."""
    try:
        made = Calls(shorter, task.takes, batched=task.batched).one(images["test"][0])
    except Exception:  # a step may need what the one before it makes
        return False
    return tuple(made.shape) == task.output_shape


def _make_or_recall(making: Making, jobs: list[Job], probes: bytes) -> str:
    """Fill the files of targets: with those in the cache, where they still are the pipeline's.

    Returns a line where they are not; empty otherwise. Raises UsageError as `Making.make` does.

    Args:
        making: What makes them.
        jobs: All that are wanted.
        probes: As `identity.kept` has it.
    """
    with saying(making.say, "looking for kept targets"):
        making.make_room(jobs)
        files = {
            (split, step): kept_targets.place(making.task, step, making.images[split])
            for split, step in jobs
        }
        found = {
            job: kept_targets.recall(file, making.targets(*job)) for job, file in files.items()
        }
    recalled = {job: one for job, one in found.items() if one is not None}
    chosen = _drawn(making, [split for split, step in recalled if step == WHOLE])
    note = _fewer_again(making, chosen)
    if not _still_makes(making, recalled, chosen, probes):
        recalled = {}
        note = "makes something else now than when its targets were kept, so they are made anew"
    new = [job for job in jobs if job not in recalled]
    if not new:
        return note
    making.make(new)
    with saying(making.say, "keeping targets"):
        lowest, highest = range_of(making.targets("train"))
        for job in new:
            kept_targets.keep(files[job], making.targets(*job), Kept(probes, highest - lowest))
    return note


def _drawn(making: Making, splits: list[str]) -> Chosen:
    """Draw which of the kept targets of some splits are made again: others every time."""
    fitting = int(AGAIN_SEC * making.workers.cores / max(making.call_sec, 1e-9))
    most = min(MADE_AGAIN, max(FEWEST_AGAIN, fitting))
    counts = {split: len(making.images[split]) for split in splits}
    total = sum(counts.values())
    drawn = np.random.default_rng()
    return {
        split: drawn.permutation(count)[: math.ceil(most * count / total)]
        for split, count in counts.items()
    }


def _fewer_again(making: Making, chosen: Chosen) -> str:
    """Say how many kept targets are made again, where a slow pipeline makes fewer; else nothing."""
    count = sum(map(len, chosen.values()))
    if count >= min(MADE_AGAIN, sum(len(making.images[split]) for split in chosen)):
        return ""
    return (
        f"takes {making.call_sec:.2g} s an image, so only {count} of its kept targets were made "
        f"again, to see whether it still makes them"
    )


def _still_makes(
    making: Making, recalled: Mapping[Job, Kept], chosen: Chosen, probes: bytes
) -> bool:
    """Tell whether a pipeline makes what was kept: of its probe images, and of those chosen."""
    if not all(is_same(probes, one.probes, one.span) for one in recalled.values()):
        return False
    if not chosen:
        return True
    again = torch.cat([making.images[split][numbers] for split, numbers in chosen.items()])
    expected = torch.cat([making.targets(split)[numbers] for split, numbers in chosen.items()])
    span = min(recalled[split, WHOLE].span for split in chosen)
    try:
        made = making.make_some(again)
    except UsageError:  # it raises for one of them now
        return False
    return float((made - expected).abs().max()) <= SAME_WITHIN * span


if __name__ == "__main__":
    own_process.serve(work, "pipeline")
