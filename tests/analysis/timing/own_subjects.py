"""Functions of a person's own, for tests of `--subject package.module:function`."""

import os
import random
import time
from pathlib import Path

import numpy as np
import psutil
import torch
from torch import Tensor

from trainables.pipelines.study import reference

_sleep_sec = random.SystemRandom().uniform(0.002, 0.006)  # drawn anew in each process

not_a_function = 3


class PeculiarError(Exception):
    """Can't be built anew from its text alone, as exceptions are that come from another process."""

    def __init__(self, count: int, why: str) -> None:
        super().__init__(f"{count} images, {why}")


def right(images: Tensor) -> Tensor:
    """What the pipeline does."""
    return reference(images)


def grey(images: Tensor) -> Tensor:
    """A flat image."""
    return torch.full((len(images), 1, 28, 28), 0.5)


def half_right(images: Tensor) -> Tensor:
    """The pipeline for images whose first value is even, the opposite of it for the others."""
    outputs = reference(images)
    outputs[images[:, 0, 0, 0] % 2 == 1] *= -1
    return outputs


def not_a_number(images: Tensor) -> Tensor:
    """The pipeline, with a single NaN in each batch."""
    outputs = reference(images)
    outputs[-1, 0, 3, 4] = float("nan")
    return outputs


def wrong_shape(images: Tensor) -> Tensor:
    """28 × 28 without a channel."""
    return reference(images)[:, 0]


def wrong_type(images: Tensor) -> Tensor:
    """Half the precision."""
    return reference(images).half()


def no_tensor(images: Tensor) -> list[float]:
    """A list."""
    return [0.0] * len(images)


def noisy(images: Tensor) -> Tensor:
    """With many images, up to three times as long as in another process."""
    if len(images) >= 40:
        time.sleep(_sleep_sec)
    return reference(images)


def slow(images: Tensor) -> Tensor:
    """Longer than a pass."""
    time.sleep(0.1)
    return reference(images)


def too_slow(images: Tensor) -> Tensor:
    """Longer than a series' time allows in these tests."""
    time.sleep(0.3)
    return reference(images)


def endless(images: Tensor) -> Tensor:
    """Says that it began, by its process's number, and does not end."""
    Path(os.environ["OWN_SUBJECTS_MARKER"]).write_text(str(os.getpid()))
    time.sleep(3600)
    return reference(images)


def raises(images: Tensor) -> Tensor:
    """Raises two lines."""
    raise RuntimeError(f"{len(images)} images are not to its liking\nand a second line")


def raises_value_error(images: Tensor) -> Tensor:
    """Raises what this project itself raises for mistakes."""
    raise ValueError("not with these images")


def raises_peculiar(images: Tensor) -> Tensor:
    """Raises an exception with a constructor of its own."""
    raise PeculiarError(len(images), "not to its liking")


def leaves(images: Tensor) -> Tensor:
    """Wants to end the program."""
    raise SystemExit(3)


def interrupts(images: Tensor) -> Tensor:
    """Prints, and ends as Ctrl-C would end it."""
    os.system("echo NOISE; echo NOISE >&2")
    raise KeyboardInterrupt


def killed(images: Tensor) -> Tensor:
    """As the system kills whatever takes too much memory."""
    os.kill(os.getpid(), 9)
    return reference(images)


def environment(images: Tensor) -> Tensor:
    """Says how its process is set up: whether threads spin, and whether memory is kept."""
    before = psutil.Process().memory_info().rss
    np.ones(2**26, np.uint8)  # 64 MiB, given back at once
    kept = psutil.Process().memory_info().rss - before > 2**25
    raise RuntimeError(f"GOMP_SPINCOUNT {os.environ.get('GOMP_SPINCOUNT')}, memory kept: {kept}")
