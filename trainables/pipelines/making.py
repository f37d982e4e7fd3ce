"""Targets of a person's pipeline made, on every core where that takes long."""

import multiprocessing.connection
import os
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import islice
from pathlib import Path

import numpy as np
import psutil
import torch
from torch import Tensor

from trainables.data.cache import Form, mapped_file
from trainables.errors import UsageError, cut, in_one_line
from trainables.own_process import TOLD_AFTER_SEC, Say
from trainables.pipelines.calling import Calls, Pipeline
from trainables.pipelines.catalogue import load
from trainables.pipelines.probing import SAID, without
from trainables.tasks import Task, shape_text

ALONE_SEC = 4.0  # of targets, which one process makes while others would still import the pipeline
CHUNK_SEC = 0.5  # of a process's work, after which progress is told
MOST_IN_CHUNK = 1000
LONGEST_HOURS = 2.0  # of making targets
WHOLE = ""
"""The pipeline as it is, among those with a step left out."""
SOME = "some"
"""What images are called that are of no split."""

Job = tuple[str, str]
"""A split, and the step that is left out."""
Part = tuple[str, str, int, int]
"""The same, and from which image to which."""
Given = tuple[Task, Path]
"""A pipeline's task, and where its images and targets lie."""


class Workers:
    """A process for every core, each of which imports the pipeline when it is first needed.

    They are started at once: where Python can copy this process, as on Linux, that takes no time as
    long as none of a person's modules is loaded, which may have threads.
    """

    def __init__(self, cores: int) -> None:
        self.cores = cores
        context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
        self._pool = ProcessPoolExecutor(cores, context, initializer=_end_with_parent)
        if cores > 1:
            self._pool.submit(int)

    def close(self) -> None:
        """Let the processes end; nobody waits for one whose threads go on."""
        self._pool.shutdown(wait=False)

    def fill(self, given: Given, parts: list[Part]) -> Iterator[int]:
        """Fill parts of files; yield how many images that were as they are done.

        Raises UsageError for the first mistake.
        """
        waiting = iter(parts)
        running: set[Future[int]] = set()
        try:
            while True:
                # Not all at once: a mistake in the first is told before the others are done
                count = 2 * self.cores - len(running)
                running |= {self._pool.submit(fill, given, part) for part in islice(waiting, count)}
                if not running:
                    return
                ended, running = wait(running, return_when=FIRST_COMPLETED)
                yield sum(future.result() for future in ended)
        except BrokenProcessPool:
            raise UsageError("it ended its process while it made targets") from None
        finally:
            for future in running:
                future.cancel()


def _end_with_parent() -> None:
    """See that a worker ends when the process that started it does, however that ends."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_exit_after, args=(parent.sentinel,), daemon=True).start()


def _exit_after(sentinel: int) -> None:
    multiprocessing.connection.wait([sentinel])
    os._exit(1)


@dataclass(frozen=True)
class Making:
    """Makes targets of splits, each into its file.

    Attributes:
        task: The pipeline's.
        directory: Where images and targets lie.
        images: By split.
        call_sec: Of one image.
        workers: What makes them where that takes long.
        say: Gets lines of progress.
    """

    task: Task
    directory: Path
    images: Mapping[str, Tensor]
    call_sec: float
    workers: Workers
    say: Say

    def targets(self, split: str, step: str = WHOLE) -> Tensor:
        """Return the targets of a split as they lie in their file."""
        return read(targets_file(self.directory, split, step), writable=True)

    def make_room(self, jobs: list[Job]) -> None:
        """Make the files of targets. Raises UsageError where there is no room for them."""
        form = {
            job: Form((len(self.images[job[0]]), *self.task.output_shape), np.float32)
            for job in jobs
        }
        needed = sum(one.size_bytes for one in form.values())
        size = f"its targets take {needed / 2**30:.1f} GiB"
        free = psutil.virtual_memory().available
        of_test = sum(one.size_bytes for (split, _), one in form.items() if split == "test")
        cure = f"give {fewer_images(of_test, free)}, or a smaller --image-size"
        if needed > free:
            raise UsageError(f"{size} of memory, and {free / 2**30:.1f} are free: {cure}")
        try:
            for job in jobs:
                mapped_file(targets_file(self.directory, *job), form[job])
        except OSError as error:
            raise UsageError(
                f"{size}, which {self.directory.parent} has no room for ({error.strerror}): "
                f"set TMPDIR to a directory with more, or {cure}"
            ) from error

    def make(self, jobs: list[Job]) -> None:
        """Fill the files of targets, with a process for every core where that pays.

        Raises UsageError where it would take hours, and where the pipeline raises for one of the
        images or gives another shape.
        """
        counts = {split: len(self.images[split]) for split, _ in jobs}
        total = sum(counts[split] for split, _ in jobs)
        of_test = sum(counts[split] for split, _ in jobs if split == "test")
        _check_time(self.call_sec, total, of_test, self.workers.cores)
        size = max(1, min(MOST_IN_CHUNK, int(CHUNK_SEC / max(self.call_sec, 1e-9))))
        parts = [
            (split, step, start, min(start + size, counts[split]))
            for split, step in jobs
            for start in range(0, counts[split], size)
        ]
        given = (self.task, self.directory)
        alone = total * self.call_sec <= ALONE_SEC or self.workers.cores == 1
        counted = (
            (fill(given, part) for part in parts) if alone else self.workers.fill(given, parts)
        )
        began = time.monotonic()
        done = first = 0
        for count in counted:
            done += count
            if not first:  # processes imported the pipeline until then
                first, began = done, time.monotonic()
                continue
            passed = time.monotonic() - began
            left = passed / (done - first) * (total - done)
            if passed > TOLD_AFTER_SEC:
                self.say(f"targets of {done:,} of {total:,} images, about {left:.0f} s left")

    def make_some(self, images: Tensor) -> Tensor:
        """Return the targets of images (N, 3, H, W) uint8. Raises UsageError as `make` does."""
        np.save(self.directory / f"{SOME}.npy", images.numpy())
        some = replace(self, images={SOME: images})
        some.make_room([(SOME, WHOLE)])
        some.make([(SOME, WHOLE)])
        return some.targets(SOME)


def read(path: Path, *, writable: bool = False) -> Tensor:
    """Return an array of a file, mapped: what is written goes to the file if it is writable."""
    return torch.from_numpy(np.load(path, mmap_mode="r+" if writable else "c"))


def targets_file(directory: Path, split: str, name: str) -> Path:
    """Return where the targets of a split lie, without a step or of the whole pipeline."""
    return directory / (f"{split}.without {name}.npy" if name else f"{split}.targets.npy")


def fewer_images(of_test: float, limit: float) -> str:
    """Say how to give fewer images, where those of the test, which no flag cuts, take so much."""
    flag = ", or fewer training images by a search's --images" if of_test <= limit else ""
    return f"a directory with fewer images{flag}"


def _check_time(call_sec: float, images: int, of_test: int, cores: int) -> None:
    hours = call_sec * images / cores / 3600
    if hours > LONGEST_HOURS:
        fitting = int(LONGEST_HOURS * 3600 * cores / call_sec)
        raise UsageError(
            f"it takes {call_sec:.2g} s an image, so the targets of {images:,} images would take "
            f"{hours:,.0f} hours on {cores} cores, and at most {fitting:,} are made in "
            f"{LONGEST_HOURS:g}: give {fewer_images(of_test, fitting)}"
        )


@lru_cache(maxsize=1)
def _calls(task: Task) -> dict[str, Pipeline]:
    """Import a pipeline: it, and those with a step left out, by its name."""
    torch.set_num_threads(1)
    pipeline = load(task.pipeline)
    calls: dict[str, Pipeline] = {WHOLE: Calls(pipeline, task.takes, batched=task.batched)}
    for name, shorter in without(pipeline):
        calls[name] = Calls(shorter, task.takes, batched=task.batched)
    return calls


def fill(given: Given, part: Part) -> int:
    """Make the targets of a part; return how many images that were. Raises UsageError."""
    split, name, start, end = part
    task, directory = given
    images = read(directory / f"{split}.npy")[start:end]
    try:
        outputs = _calls(task)[name](images)
        problem = _problem(outputs, task)
    except UsageError as mistake:
        problem = str(mistake)
    except Exception as error:
        problem = f"it raises {cut(in_one_line(error), SAID)}"
    if problem and end - start > 1:
        half = (start + end) // 2
        return fill(given, (split, name, start, half)) + fill(given, (split, name, half, end))
    if problem and name == WHOLE:
        raise UsageError(f"{problem} ({split} image {start})")
    targets = read(targets_file(directory, split, name), writable=True)
    targets[start:end] = np.nan if problem else outputs
    return end - start


def _problem(outputs: Tensor, task: Task) -> str:
    """Say why outputs are no targets: empty where they are."""
    if tuple(outputs.shape[1:]) != task.output_shape:
        wanted = shape_text(task.output_shape)
        return f"its output is {shape_text(outputs.shape[1:])}, and {wanted} for other images"
    return "" if bool(outputs.isfinite().all()) else "it gives NaN or infinite numbers"
