"""Where on this machine lies what can be had again. Without PyTorch, whose import takes seconds."""

import os
from pathlib import Path

import platformdirs

CACHE_VARIABLE = "TRANSFORM_TUNER_CACHE"


def cache_directory() -> Path:
    """For downloads, decoded images and copies of buckets: $TRANSFORM_TUNER_CACHE, or the platform's own place."""
    return Path(os.environ.get(CACHE_VARIABLE) or platformdirs.user_cache_dir("transform-tuner"))
