"""What timed processes begin as copies of: PyTorch, set up such that its times repeat.

Two things made a ratio of two subjects differ by a factor of up to five from process to process:
threads that spin after their work, and memory that goes back to the system and is faulted in again.
Only both together took that away; docs/timing.md has the figures.
"""

import ctypes
import os
import signal

# Its copies take that over: Ctrl-C is for the command
signal.signal(signal.SIGINT, signal.SIG_IGN)
# Read by GNU OpenMP when PyTorch is imported
os.environ["GOMP_SPINCOUNT"] = "0"

TRIM_THRESHOLD, TOP_PAD, MMAP_MAX = -1, -2, -4  # malloc.h
KEPT_BYTES = 256 * 2**20


def keep_memory() -> None:
    """Tell glibc to keep what is freed. Elsewhere there is nothing to tell."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(MMAP_MAX, 0)
        mallopt(TRIM_THRESHOLD, -1)
        mallopt(TOP_PAD, KEPT_BYTES)


keep_memory()

import torchvision.transforms.v2  # noqa: E402, F401  # 2 s, that not every process shall take

import analysis.timing.worker  # noqa: E402, F401  # after what it reads
