"""How close outputs are to targets: cosine similarity and its accuracy, PSNR, SSIM."""

import torch
from torch import Tensor
from torch.nn import functional

THRESHOLD = 0.95
THRESHOLDS = (0.80, 0.85, 0.90, 0.95, 0.97, 0.98, 0.99, 0.995, 0.999)


def cosine_similarity(outputs: Tensor, targets: Tensor) -> Tensor:
    """One cosine per image, (N, 1, 28, 28) twice → (N,), of the images flattened to one vector each.

    Without the flattening, `CosineSimilarity(dim=1)` compares single pixels and always gives 1.
    """
    return functional.cosine_similarity(outputs.flatten(1), targets.flatten(1), dim=1)


def cosine_accuracy(cosines: Tensor, threshold: float = THRESHOLD) -> float:
    """The share of images with cosine similarity ≥ `threshold`. NaN counts as a miss."""
    return float((cosines >= threshold).double().mean())


def psnr_db(outputs: Tensor, targets: Tensor) -> Tensor:
    """Peak signal-to-noise ratio per image in dB, for values in [0, 1]: 10 · log10(1 / MSE), (N,).

    Capped at 150 dB, where the difference is below float32's resolution; an exact image has no finite one.
    """
    squared_error = (outputs - targets).square().flatten(1).mean(dim=1)
    return -10 * squared_error.clamp_min(1e-15).log10()


def ssim(outputs: Tensor, targets: Tensor) -> Tensor:
    """Structural similarity per image, for (N, 1, H, W) in [0, 1]: (N,).

    Wang, Bovik, Sheikh, Simoncelli 2004, "Image quality assessment: from error visibility to structural
    similarity", eq. 13 with their constants: an 11 × 11 Gaussian window of σ = 1.5, K1 = 0.01, K2 = 0.03.
    """
    window = _gaussian_window(11, 1.5).to(outputs)
    mean_x, mean_y = functional.conv2d(outputs, window), functional.conv2d(targets, window)
    variance_x = functional.conv2d(outputs * outputs, window) - mean_x**2
    variance_y = functional.conv2d(targets * targets, window) - mean_y**2
    covariance = functional.conv2d(outputs * targets, window) - mean_x * mean_y
    c1, c2 = 0.01**2, 0.03**2
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    structure = (2 * covariance + c2) / (variance_x + variance_y + c2)
    return (luminance * structure).flatten(1).mean(dim=1)


def _gaussian_window(size: int, sigma: float) -> Tensor:
    """(1, 1, size, size), summing to one."""
    offsets = torch.arange(size) - size // 2
    line = torch.exp(-(offsets**2) / (2 * sigma**2))
    plane = torch.outer(line, line)
    return (plane / plane.sum())[None, None]
