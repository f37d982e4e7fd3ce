"""Cosine similarities from which an output counts as equal, and how shares of images read.

Without PyTorch, whose import takes 2 s.
"""

THRESHOLD = 0.95  # the headline's: lenient, so floors stand beside it
STRICT_THRESHOLD = 0.99  # shown beside the headline's
# Those that the scores table has of the cosine similarity, lowest first
THRESHOLDS = (0.80, 0.85, 0.90, THRESHOLD, 0.97, 0.98, STRICT_THRESHOLD, 0.995, 0.999)


def percent(fraction: float) -> str:
    """Return 0.99871 as 99.87 %: cut, not rounded, so that only all images are 100 %."""
    return f"{int(fraction * 10_000 + 1e-9) / 100:.2f} %"
