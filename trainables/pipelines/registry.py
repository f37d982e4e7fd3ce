"""The pipelines by name. A new pipeline is one file, and one line here."""

from trainables import own_code
from trainables.errors import UsageError
from trainables.task import STUDY_NAME

TAKES = ("pil", "uint8", "float", "array", "dict")
"""What a pipeline may take, as `calling` has it, in the order in which it is tried."""

PIPELINES = {STUDY_NAME: "trainables.pipelines.study:reference"}
"""Each is a function over a batch: (N, 3, H, W) uint8 → (N, c, h, w) float32."""

OLDER_NAMES = {"reference": STUDY_NAME}
"""What older tables call them."""


def check(name: str) -> None:
    """Raise UsageError where a pipeline is neither registered nor an object whose module is there.

    Nothing of the module runs.
    """
    if name in PIPELINES:
        return
    if not own_code.is_own(name):
        raise UsageError(
            f"--pipeline {name}: choose {' or '.join(PIPELINES)}, or name an object of your own as "
            f"package.module:object or path/file.py:object"
        )
    own_code.check_there("--pipeline", name)
