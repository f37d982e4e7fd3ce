"""The mean squared error of each image."""

from torch import Tensor

from trainables.metrics.metric import Metric
from trainables.tasks import Task


def mean_squared_error(outputs: Tensor, targets: Tensor, task: Task) -> Tensor:
    """Return the mean over each image's numbers of their squared differences: (N,)."""
    return (outputs - targets).square().flatten(1).mean(dim=1)


METRIC = Metric("mse", mean_squared_error, higher_is_better=False)
