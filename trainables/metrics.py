"""How close outputs are to targets: cosine similarity and its accuracy, PSNR, SSIM."""

import torch
from torch import Tensor
from torch.nn import functional

from trainables.tasks import Task
from trainables.thresholds import THRESHOLD

WINDOW = 11  # pixels of SSIM's window: smaller images have none


def cosine_similarity(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return one cosine per image, flattened to one vector each: (N, c, h, w) twice → (N,).

    Without the flattening, `CosineSimilarity(dim=1)` compares single pixels and always gives 1. Two
    black images are equal, with cosine 1; a black one beside another has cosine 0.
    """
    outputs, targets = outputs.flatten(1), targets.flatten(1)
    cosines = functional.cosine_similarity(outputs, targets, dim=1)
    both_black = ~(outputs.any(dim=1) | targets.any(dim=1))  # NaN is not black
    return cosines.masked_fill(both_black, 1.0)


def cosine_accuracy(cosines: Tensor, threshold: float = THRESHOLD) -> float:
    """Return the share of images with cosine similarity ≥ `threshold`. NaN counts as a miss."""
    return float((cosines >= threshold).double().mean())


def psnr_db(outputs: Tensor, targets: Tensor, task: Task) -> Tensor:
    """Return the peak signal-to-noise ratio of each image in dB, 10 · log10(span² / MSE): (N,).

    The span is that of the task's range. The ratio is capped at 150 dB, where the difference is
    below float32's resolution; an exact image has no finite one.
    """
    squared_error = (outputs - targets).square().flatten(1).mean(dim=1)
    return -10 * (squared_error / task.span**2).clamp_min(1e-15).log10()


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
