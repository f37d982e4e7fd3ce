"""Where on this machine lies what can be had again. Without PyTorch, whose import takes 2 s."""

import os
from pathlib import Path

import platformdirs

CACHE_VARIABLE = "TRANSFORM_TUNER_CACHE"


def cache_directory() -> Path:
    """Return the directory for downloads, decoded images and copies of buckets.

    It is $TRANSFORM_TUNER_CACHE, or the platform's own place for such things.
    """
    return Path(os.environ.get(CACHE_VARIABLE) or platformdirs.user_cache_dir("transform-tuner"))
