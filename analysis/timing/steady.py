"""What timed processes begin as copies of: PyTorch, set up such that its times repeat.

Threads that spin after their work take cores from whoever is timed next. Memory that goes back to
the system is faulted in again, at a cost that differs from process to process.
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
