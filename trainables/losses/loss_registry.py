"""The losses by name: what a training may minimise. A new loss is one file, and one line here.

Each has a function `on(task, device, precision)`, which returns the loss as it is called there. It
gives the sum over images, so that a worker's shard can be divided by the size of the whole batch.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from trainables import own_code
from trainables.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

# From outputs and targets (N, c, h, w) float32 to the sum over images of their losses
Loss = Callable[["Tensor", "Tensor"], "Tensor"]

# Imported when asked for, so that a command line can be checked before PyTorch's 2 s have passed
LOSSES = {
    "mse": "trainables.losses.squared_error:on",
    "perceptual": "trainables.losses.perceptual:on",
}


def find(name: str) -> Callable[..., Loss]:
    """Return what makes the loss registered as `name`, or that of a person's own.

    Raises UsageError where there is none, or where its module does not survive its import.
    """
    if name in LOSSES:
        made: Callable[..., Loss] = own_code.load(LOSSES[name])
        return made
    from trainables.own_functions import OwnFunction  # here, as said above

    function = OwnFunction.load("--loss", name)
    return lambda task, device, precision: lambda outputs, targets: function(outputs, targets).sum()


def check(asked: str) -> None:
    """Raise UsageError where a list of losses is none.

    Args:
        asked: As `--loss` takes it, with commas between names.
    """
    names = asked.split(",")
    if not all(name in LOSSES or own_code.is_own(name) for name in names):
        raise UsageError(
            f"--loss {asked}: choose one of {', '.join(LOSSES)}, name a function of your own as "
            f"package.module:function or path/file.py:function, or several with commas between"
        )
    if len(set(names)) < len(names):
        raise UsageError(f"--loss {asked}: name each loss once")
    own = [own_code.short(name) for name in names if name not in LOSSES]
    own_code.check_distinct("--loss", asked, own, LOSSES)
