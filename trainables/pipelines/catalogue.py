"""The pipelines by name. A new pipeline is one file, and one line here."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

from trainables import own_code
from trainables.errors import UsageError
from trainables.own_process import OwnProcess
from trainables.tasks import STUDY_NAME

WORDS = {
    "pil": "a PIL image",
    "uint8": "a tensor (3, H, W) of bytes",
    "float": "a tensor (3, H, W) in [0, 1]",
    "array": "an array (H, W, 3) of bytes",
    "dict": "image=, an array (H, W, 3) of bytes",
}
"""What a pipeline may take, in words, in the order in which it is tried."""
TAKES = tuple(WORDS)

PIPELINES = {STUDY_NAME: "trainables.pipelines.study:reference"}
"""Each is a function over a batch: (N, 3, H, W) uint8 → (N, c, h, w) float32."""

LEFT_OUT = {STUDY_NAME: {"flips": "trainables.pipelines.study:without_flips"}}
"""The same without some of their steps: what is left out, and the function that does it."""

OLDER_NAMES = {"reference": STUDY_NAME}
"""What older tables call them."""


def load(name: str) -> Any:
    """Import a pipeline, and return it as it is called: one of this project with whole batches.

    Raises UsageError where it can't be imported.
    """
    pipeline = own_code.load(PIPELINES.get(name, name))
    if hasattr(pipeline, "eval") and hasattr(pipeline, "modules"):
        pipeline.eval()  # a module of PyTorch: dropout and batch statistics change between calls
    return pipeline


def started(name: str) -> AbstractContextManager[OwnProcess | None]:
    """Start the process that a person's pipeline will run in; None for one of this project.

    The process imports PyTorch meanwhile, and none of a person's code until it is asked.
    """
    return nullcontext() if name in PIPELINES else OwnProcess("trainables.pipelines.process")


def check(name: str, takes: str | None = None) -> None:
    """Raise UsageError where a pipeline is neither registered nor an object whose module is there.

    Nothing of the module runs.

    Args:
        name: What was given as `--pipeline`.
        takes: What it is to be called with, which a registered one says itself.
    """
    if name in PIPELINES and takes is not None:
        raise UsageError(
            f"--takes {takes}: --pipeline {name} is called as it has to be; leave --takes out"
        )
    if name in PIPELINES:
        return
    if not own_code.is_own(name):
        raise UsageError(
            f"--pipeline {name}: choose {' or '.join(PIPELINES)}, or name an object of your own as "
            f"package.module:object or path/file.py:object"
        )
    own_code.check_there("--pipeline", name)
