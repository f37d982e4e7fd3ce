"""Cosine similarities from which an output counts as equal, and how shares of images read.

Without PyTorch, whose import takes 2 s.
"""

THRESHOLD = 0.95  # the headline's: lenient, so floors stand beside it
STRICT_THRESHOLD = 0.99  # shown beside the headline's
# Those that the scores table has of the cosine similarity, lowest first
THRESHOLDS = (0.80, 0.85, 0.90, THRESHOLD, 0.97, 0.98, STRICT_THRESHOLD, 0.995, 0.999)


def percent(fraction: float, decimals: int = 1) -> str:
    """Return 0.99871 as 99.8 %: cut, not rounded, so that only all images are 100 %.

    None and all have no decimals: 0 % and 100 %.
    """
    if fraction in (0, 1):
        return f"{100 * fraction:.0f} %"
    steps = 10**decimals
    return f"{int(100 * fraction * steps + 1e-9) / steps:.{decimals}f} %"
