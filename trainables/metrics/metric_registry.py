"""The metrics by name. A new metric is one file, and one line here."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

from trainables import own_code
from trainables.errors import UsageError
from trainables.goal import COSINE, LOSS
from trainables.thresholds import THRESHOLD

if TYPE_CHECKING:
    from trainables.metrics.metric import Metric

# Imported when asked for, so that a command line can be checked before PyTorch's 2 s have passed
METRICS = {
    "cosine": "trainables.metrics.cosine:METRIC",
    "mse": "trainables.metrics.mse:METRIC",
    "psnr": "trainables.metrics.psnr:METRIC",
    "ssim": "trainables.metrics.ssim:METRIC",
}


@dataclass(frozen=True)
class MetricSet:
    """What finalists are measured with: every registered metric, and those of a person's own.

    It travels to other processes, and imports nothing before it is asked.

    Attributes:
        own: As `find` takes them in any directory.
        threshold: Of the cosine, beside those that it has.
    """

    own: tuple[str, ...] = ()
    threshold: float = THRESHOLD

    def load(self) -> "list[Metric]":
        """Return the metrics. Raises UsageError where one of a person's own can't be imported."""
        known = {name: find(name) for name in METRICS}
        thresholds = tuple(sorted({*known[COSINE].thresholds, self.threshold}))
        known[COSINE] = replace(known[COSINE], thresholds=thresholds)
        return [*known.values(), *map(find, self.own)]


def find(name: str) -> "Metric":
    """Return the metric registered as `name`, or the function of a person's own as one.

    Raises UsageError where there is none, or where its module does not survive its import.
    """
    if name in METRICS:
        return cast("Metric", own_code.load(METRICS[name]))
    from trainables.metrics.metric import Metric  # here, as said above
    from trainables.own_functions import OwnFunction

    function = OwnFunction.load("--metric", name)
    return Metric(own_code.short(name), function.measure, function.higher_is_better)


def check(asked: str, columns: Collection[str]) -> None:
    """Raise UsageError where a list of metrics of a person's own is none.

    Args:
        asked: As `--metric` takes it, with commas between names.
        columns: Beside which tables have one of each metric, of its name.
    """
    names = asked.split(",")
    for name in names:
        if name in METRICS:
            raise UsageError(f"--metric {name}: it is measured anyway; leave it out")
        if not own_code.is_own(name):
            raise UsageError(
                f"--metric {asked}: name a function of your own as package.module:function or "
                f"path/file.py:function"
            )
        if (short := own_code.short(name)) in columns:
            raise UsageError(
                f"--metric {name}: a metric can't be called {short}, as another column of the "
                f"scores is; give yours another name"
            )
    own_code.check_distinct("--metric", asked, list(map(own_code.short, names)), (LOSS, *METRICS))
