"""What is trained: pipelines, images, networks and the training loop, in pure PyTorch.

    from trainables import Training, TrainingConfig

These names are imported when they are asked for, since PyTorch takes 2 s.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trainables.training.loop import Training, TrainingConfig

__all__ = ["Training", "TrainingConfig"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("trainables.training.loop"), name)
