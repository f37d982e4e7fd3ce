"""The peak signal-to-noise ratio of each image."""

from torch import Tensor

from trainables.metrics.metric import Metric
from trainables.metrics.mse import mean_squared_error
from trainables.tasks import Task


def psnr_db(outputs: Tensor, targets: Tensor, task: Task) -> Tensor:
    """Return the peak signal-to-noise ratio of each image in dB, 10 · log10(span² / MSE): (N,).

    The span is that of the task's range. The ratio is capped at 150 dB, where the difference is
    below float32's resolution; an exact image has no finite one.
    """
    squared_error = mean_squared_error(outputs, targets, task)
    return -10 * (squared_error / task.span**2).clamp_min(1e-15).log10()


METRIC = Metric("psnr", psnr_db, higher_is_better=True)
