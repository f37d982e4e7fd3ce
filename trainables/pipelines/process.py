"""The process in which a person's pipeline runs: it is probed, and makes the targets.

    python -m trainables.pipelines.process '{"pipeline": "my_transforms.py:preprocess", …}'

`own.py` starts it. Where targets take long, every core has a process of its own.
"""

import multiprocessing
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trainables import own_process
from trainables.data.examples import range_of
from trainables.errors import UsageError, cut, in_one_line
from trainables.linear import examine
from trainables.own_process import Say
from trainables.pipelines.calling import Calls, Pipeline
from trainables.pipelines.catalogue import load
from trainables.pipelines.identity import probe_images
from trainables.pipelines.probing import SAID, probe, without
from trainables.tasks import Task, shape_text

ALONE_SEC = 4.0  # of targets, which one process makes while others would still start
TOLD_AFTER_SEC = 1.0
HEARD_AFTER = 16  # images, each of which may take seconds
CHUNK_SEC = 0.5  # of a process's work, after which progress is told
MOST_IN_CHUNK = 1000
LONGEST_HOURS = 2.0  # of making targets
WHOLE = ""
"""The pipeline as it is, among those with a step left out."""


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
    directory = Path(arguments["directory"])
    pipeline = load(arguments["pipeline"])
    images = {path.stem: _read(path) for path in sorted(directory.glob("*.npy"))}
    probed = probe(arguments["pipeline"], pipeline, images["train"], arguments["takes"])
    task = probed.task
    counts = {split: len(part) for split, part in images.items()}
    _check_time(probed.call_sec, sum(counts.values()), arguments["cores"])
    call = _Heard(Calls(pipeline, task.takes, batched=task.batched), say)
    left_out = [name for name, shorter in without(pipeline) if _fits(shorter, task, images)]
    jobs = [(split, WHOLE) for split in images] + [("test", name) for name in left_out]
    for split, name in jobs:
        shape = (counts[split], *task.output_shape)
        np.lib.format.open_memmap(_targets(directory, split, name), "w+", np.float32, shape)
    _make(arguments, task, jobs, counts, probed.call_sec, say)
    lowest, highest = range_of(_read(_targets(directory, "train", WHOLE)))
    task = replace(task, low=lowest, high=highest)
    task, affine = examine(call, task, images["train"])
    tensors = {} if affine is None else affine.to_tensors()
    for name, tensor in tensors.items():
        np.save(directory / f"affine.{name}.npy", tensor.numpy())
    np.save(directory / "probes.npy", call(probe_images(task.input_shape)).numpy())
    return {"task": task.to_plain(), "without": left_out, "affine": list(tensors)}


class _Heard:
    """A pipeline that says now and then that it is at work: long silence is taken for a hang."""

    def __init__(self, call: Pipeline, say: Say) -> None:
        self._call, self._say = call, say
        self._next = time.monotonic() + TOLD_AFTER_SEC

    def __call__(self, images: Tensor) -> Tensor:
        outputs = []
        for part in images.split(HEARD_AFTER):
            outputs.append(self._call(part))
            if time.monotonic() > self._next:
                self._next = time.monotonic() + TOLD_AFTER_SEC
                self._say("looking whether the pipeline is affine")
        return torch.cat(outputs)


def _read(path: Path) -> Tensor:
    return torch.from_numpy(np.load(path, mmap_mode="c"))


def _targets(directory: Path, split: str, name: str) -> Path:
    return directory / (f"{split}.without {name}.npy" if name else f"{split}.targets.npy")


def _fits(shorter: Callable[..., Any], task: Task, images: Mapping[str, Tensor]) -> bool:
    """Tell whether a pipeline without one of its steps still gives outputs of the task's shape."""
    try:
        made = Calls(shorter, task.takes, batched=task.batched).one(images["test"][0])
    except Exception:  # a step may need what the one before it makes
        return False
    return tuple(made.shape) == task.output_shape


def _check_time(call_sec: float, images: int, cores: int) -> None:
    hours = call_sec * images / cores / 3600
    if hours > LONGEST_HOURS:
        fitting = int(LONGEST_HOURS * 3600 * cores / call_sec)
        raise UsageError(
            f"it takes {call_sec:.2g} s an image, so the targets of {images:,} images would take "
            f"{hours:,.0f} hours on {cores} cores; give a directory of at most {fitting:,} images, "
            f"or fewer by --images"
        )


Part = tuple[str, str, int, int]
"""A split, the step that is left out, and from which image to which."""


def _make(
    arguments: Mapping[str, Any],
    task: Task,
    jobs: list[tuple[str, str]],
    counts: Mapping[str, int],
    call_sec: float,
    say: Say,
) -> None:
    """Fill the files of targets, with a process for every core where that pays.

    Raises UsageError where the pipeline raises for one of the images, or gives another shape.
    """
    size = max(1, min(MOST_IN_CHUNK, int(CHUNK_SEC / max(call_sec, 1e-9))))
    parts = [
        (split, name, start, min(start + size, counts[split]))
        for split, name in jobs
        for start in range(0, counts[split], size)
    ]
    total = sum(counts[split] for split, _ in jobs)
    given = (arguments["pipeline"], task, arguments["directory"])
    began = time.monotonic()
    done = first = 0
    alone = total * call_sec <= ALONE_SEC or arguments["cores"] == 1
    for count in _alone(given, parts) if alone else _together(given, parts, arguments["cores"]):
        done += count
        if not first:  # processes started until then
            first, began = done, time.monotonic()
            continue
        passed = time.monotonic() - began
        left = passed / (done - first) * (total - done)
        if passed > TOLD_AFTER_SEC:
            say(f"targets of {done:,} of {total:,} images, about {left:.0f} s left")


def _alone(given: tuple[str, Task, str], parts: list[Part]) -> Iterator[int]:
    enter(*given)
    for part in parts:
        yield fill(part)


def _together(given: tuple[str, Task, str], parts: list[Part], cores: int) -> Iterator[int]:
    # Started anew, not forked: a person's modules may have threads
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(cores, context, initializer=enter, initargs=given) as pool:
        waiting = iter(parts)
        running: set[Future[int]] = set()
        try:
            while True:
                # Not all at once: a mistake in the first is told before the others are done
                running |= {
                    pool.submit(fill, part) for part in islice(waiting, 2 * cores - len(running))
                }
                if not running:
                    return
                ended, running = wait(running, return_when=FIRST_COMPLETED)
                yield sum(future.result() for future in ended)
        except BrokenProcessPool:
            raise UsageError("it ended its process while it made targets") from None
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


class _Filling:
    """A process's own pipeline, and those with a step left out, by its name."""

    def __init__(self, pipeline: Any, task: Task, directory: Path) -> None:
        self.task, self.directory = task, directory
        self.calls: dict[str, Pipeline] = {WHOLE: Calls(pipeline, task.takes, batched=task.batched)}
        for name, shorter in without(pipeline):
            self.calls[name] = Calls(shorter, task.takes, batched=task.batched)


_filling: list[_Filling] = []


def enter(name: str, task: Task, directory: str) -> None:
    """Set a process up that fills files of targets."""
    torch.set_num_threads(1)
    pipeline = load(name)
    _filling[:] = [_Filling(pipeline, task, Path(directory))]


def fill(part: Part) -> int:
    """Make the targets of a part; return how many images that were. Raises UsageError."""
    split, name, start, end = part
    (filling,) = _filling
    images = _read(filling.directory / f"{split}.npy")[start:end]
    try:
        outputs = filling.calls[name](images)
        problem = _problem(outputs, filling.task)
    except UsageError as mistake:
        problem = str(mistake)
    except Exception as error:
        problem = f"it raises {cut(in_one_line(error), SAID)}"
    if problem and end - start > 1:
        half = (start + end) // 2
        return fill((split, name, start, half)) + fill((split, name, half, end))
    if problem and name == WHOLE:
        raise UsageError(f"{problem} ({split} image {start})")
    targets = np.load(_targets(filling.directory, split, name), mmap_mode="r+")
    targets[start:end] = np.nan if problem else outputs.numpy()
    return end - start


def _problem(outputs: Tensor, task: Task) -> str:
    """Say why outputs are no targets: empty where they are."""
    if tuple(outputs.shape[1:]) != task.output_shape:
        wanted = shape_text(task.output_shape)
        return f"its output is {shape_text(outputs.shape[1:])}, and {wanted} for other images"
    return "" if bool(outputs.isfinite().all()) else "it gives NaN or infinite numbers"


if __name__ == "__main__":
    own_process.serve(work, "pipeline")
