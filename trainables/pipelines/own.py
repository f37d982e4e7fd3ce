"""Targets made: by the study's pipeline here, by all others in processes of their own."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import Tensor

from trainables.cores import cores
from trainables.data.cache import Arrays, Form, New, filled_once
from trainables.data.examples import fingerprint_of, shape_of
from trainables.errors import UsageError
from trainables.linear import AffineMap, examine
from trainables.own_process import OwnProcess, Say
from trainables.pipelines import study
from trainables.pipelines.calling import Pipeline, make_targets
from trainables.pipelines.catalogue import PIPELINES
from trainables.pipelines.identity import kept, probe_images
from trainables.pipelines.making import fewer_images
from trainables.tasks import STUDY, STUDY_NAME, Task


@dataclass(frozen=True)
class Made:
    """What a pipeline made, and what is known of it.

    Attributes:
        targets: By split, (N, c, h, w) float32 each.
        without: Of the test split, without one of its steps, by the step's name.
        affine: Its map, as `AffineMap.to_tensors` has it; empty where none was looked for or found.
        probes: As `identity.kept` has it.
        note: A line that a person has to see; empty where there is none.
    """

    task: Task
    targets: Mapping[str, Tensor]
    without: Mapping[str, Tensor] = field(default_factory=dict)
    affine: Mapping[str, Tensor] = field(default_factory=dict)
    probes: bytes = b""
    note: str = ""


def of_study(images: Mapping[str, Tensor]) -> Made:
    """Make targets by the study's pipeline, in this process, or take those of the cache.

    Args:
        images: By split, (N, 3, H, W) uint8 each.
    """
    targets = {split: _kept(study.reference, part) for split, part in images.items()}
    task = Task(
        input_shape=shape_of(images["train"]),
        output_shape=shape_of(targets["train"]),
        steps=STUDY.steps,
    )
    affine = None
    if (task.input_shape, task.output_shape) == (STUDY.input_shape, STUDY.output_shape):
        task = STUDY  # its map is found where it is asked for
    else:
        task, affine = examine(study.reference, task)
    return Made(
        task,
        targets,
        without={"flips": _kept(study.without_flips, images["test"])},
        affine={} if affine is None else affine.to_tensors(),
        probes=kept(study.reference(probe_images(task.input_shape))),
    )


def _kept(pipeline: Pipeline, images: Tensor) -> Tensor:
    """Return what a part of the study's pipeline makes of images: once made, it is in the cache.

    Another release of PyTorch, or another kind of processor, may round otherwise.
    """
    made = [torch.__version__, torch.backends.cpu.get_cpu_capability(), fingerprint_of(images)]

    def fill(new: New) -> Arrays:
        targets = make_targets(pipeline, images)
        arrays = new({"targets": Form(tuple(targets.shape), np.float32)})
        arrays["targets"][:] = targets.numpy()
        return arrays

    key = "\n".join(["the study's targets", pipeline.__name__, *made])
    asked = f"--pipeline {STUDY_NAME}"
    return torch.from_numpy(filled_once(asked, key, ("targets",), fill)["targets"])


def in_own_process(
    process: OwnProcess,
    name: str,
    images: Mapping[str, Tensor],
    takes: str | None = None,
    progress: Say | None = None,
) -> Made:
    """Make targets by a person's pipeline, or one of the gallery, in a process for every core.

    Args:
        process: As `catalogue.started` started it.
        name: As `catalogue.load` takes it.
        images: By split, (N, 3, H, W) uint8 each.
        takes: One of `catalogue.TAKES`; None to find out, or as the gallery says.
        progress: Gets lines of it.

    Raises:
        UsageError: The pipeline can't be used, or there is no room for its images and targets.
    """
    if name in PIPELINES:
        takes = PIPELINES[name].takes
    with TemporaryDirectory(ignore_cleanup_errors=True) as directory:
        _write(name, images, Path(directory))
        process.ask({"pipeline": name, "takes": takes, "cores": cores(), "directory": directory})
        found = process.answer(f"--pipeline {name}: its import and its calls", progress)
        return Made(
            Task.from_plain(found["task"]),
            {split: _read(Path(directory, f"{split}.targets.npy")) for split in images},
            {step: _read(Path(directory, f"test.without {step}.npy")) for step in found["without"]},
            affine={part: _read(Path(directory, f"affine.{part}.npy")) for part in found["affine"]},
            probes=kept(_read(Path(directory, "probes.npy"))),
            note=f"--pipeline {name} {found['note']}" if found["note"] else "",
        )


def own_map(task: Task, tensors: Mapping[str, Tensor]) -> AffineMap | None:
    """Return a pipeline as the affine map that it is; None where it has none.

    That of the study is found here.

    Args:
        task: Whose pipeline it is.
        tensors: What was found when its targets were made.
    """
    if tensors:
        return AffineMap.from_tensors(tensors)
    if task.pipeline == STUDY_NAME:
        _, found = examine(study.reference, task)
        return found
    return None


def _read(file: Path) -> Tensor:
    return torch.from_numpy(np.load(file))


def _write(name: str, images: Mapping[str, Tensor], directory: Path) -> None:
    free = shutil.disk_usage(directory).free
    try:
        for split, part in images.items():
            np.save(directory / f"{split}.npy", part.numpy())
    except OSError as error:
        needed = sum(part.nbytes for part in images.values())
        raise UsageError(
            f"--pipeline {name}: its images take {needed / 2**30:.1f} GiB, which "
            f"{directory.parent} has no room for ({error.strerror}): set TMPDIR to a directory "
            f"with more, or give {fewer_images(images['test'].nbytes, free)}"
        ) from error
