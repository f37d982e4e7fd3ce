"""Memory: what `peak_mib` means in every table, and how errors for want of it are known."""

import resource
import sys
from pathlib import Path

import psutil
import torch

SAID = (  # each library words its own
    "can't allocate memory",  # PyTorch on a CPU
    "bad_alloc",
    "could not create a primitive",  # oneDNN
    "cuda error: out of memory",  # a context, a module
    "cublas_status_alloc_failed",
    "cudnn_status_alloc_failed",
)


class PeakMemory:
    """The most memory that this process held for itself since `reset`.

    On a GPU it is CUDA's peak of allocated memory. On a CPU it is the peak of the process's
    resident memory without what it shares with others, such as libraries and images in an object
    store. Where the system does not tell that (macOS), it is the peak since the process began.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def reset(self) -> None:
        """Forget the peak so far, where the system can (Linux, CUDA)."""
        if self._device.type == "cuda":
            torch.cuda.init()  # else a GPU that nothing has used yet is refused
            torch.cuda.reset_peak_memory_stats(self._device)
            return
        try:
            # proc(5): resets the peak of the resident memory
            Path("/proc/self/clear_refs").write_text("5")
        except OSError:
            return

    def mib(self) -> float:
        """Return the peak in MiB."""
        if self._device.type == "cuda":
            return torch.cuda.max_memory_allocated(self._device) / 2**20
        try:
            # proc(5): peak of the resident memory, and what is shared
            peak, *shared = _status_kib("VmHWM", "RssFile", "RssShmem")
            return (peak - sum(shared)) / 1024
        except (OSError, LookupError):
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            # macOS counts bytes, others KiB
            return peak / (2**20 if sys.platform == "darwin" else 1024)


def own_mib() -> float:
    """Return the memory in MiB that this process holds for itself now.

    It is the resident memory without what is shared with others, where the system tells (Linux).
    """
    try:
        return _status_kib("RssAnon")[0] / 1024
    except (OSError, LookupError):
        return float(psutil.Process().memory_info().rss / 2**20)


def _status_kib(*names: str) -> list[int]:
    lines = Path("/proc/self/status").read_text().splitlines()
    status = dict(line.split(":", 1) for line in lines)
    return [int(status[name].split()[0]) for name in names]


def is_short_of_memory(error: BaseException) -> bool:
    """Tell whether memory was short, of the GPU or of the machine."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    said = str(error).lower()
    return isinstance(error, RuntimeError) and any(words in said for words in SAID)
