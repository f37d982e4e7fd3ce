"""The structural similarity of each image."""

import torch
from torch import Tensor
from torch.nn import functional

from trainables.metrics.metric import Metric
from trainables.tasks import Task

WINDOW = 11  # pixels of its window: smaller images have none


def ssim(outputs: Tensor, targets: Tensor, task: Task) -> Tensor:
    """Return the structural similarity of each image (N, c, h, w), mean over its channels: (N,).

    Wang, Bovik, Sheikh, Simoncelli 2004, "Image quality assessment: from error visibility to
    structural similarity", eq. 13 with their constants: an 11 × 11 Gaussian window of σ = 1.5,
    K1 = 0.01, K2 = 0.03. Intensities are counted from the lowest of the task's range, as theirs are
    from black, up to its span. It is NaN where a side is shorter than the window.
    """
    if min(outputs.shape[-2:]) < WINDOW:
        return outputs.new_full((len(outputs),), torch.nan)
    outputs, targets = outputs - task.low, targets - task.low
    rows, columns = (_gaussian_window(length, outputs) for length in outputs.shape[-2:])

    def blur(images: Tensor) -> Tensor:
        return rows @ images @ columns.T  # two banded products, much cheaper than conv2d on a CPU

    mean_x, mean_y = blur(outputs), blur(targets)
    variance_x = blur(outputs * outputs) - mean_x**2
    variance_y = blur(targets * targets) - mean_y**2
    covariance = blur(outputs * targets) - mean_x * mean_y
    c1, c2 = (0.01 * task.span) ** 2, (0.03 * task.span) ** 2
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    structure = (2 * covariance + c2) / (variance_x + variance_y + c2)
    return (luminance * structure).flatten(1).mean(dim=1)


def _gaussian_window(length: int, like: Tensor) -> Tensor:
    """Return (length - 10, length): each row weighs 11 neighbours by a Gaussian and sums to one."""
    weights = torch.exp(-(torch.arange(-5, 6) ** 2) / (2 * 1.5**2))
    weights /= weights.sum()
    rows = [functional.pad(weights, (start, length - 11 - start)) for start in range(length - 10)]
    return torch.stack(rows).to(like)


METRIC = Metric("ssim", ssim, higher_is_better=True)
