"""Cosine similarity, and the share of images that reach one."""

from torch import Tensor
from torch.nn import functional

from trainables.metrics.metric import Metric
from trainables.thresholds import THRESHOLD, THRESHOLDS


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


METRIC = Metric(
    "cosine",
    lambda outputs, targets, task: cosine_similarity(outputs, targets),
    higher_is_better=True,
    thresholds=THRESHOLDS,
)
