"""How errors for want of memory are known; each library words its own."""

import torch

SAID = (
    "can't allocate memory",  # PyTorch on a CPU
    "bad_alloc",
    "could not create a primitive",  # oneDNN
    "cuda error: out of memory",  # a context, a module
    "cublas_status_alloc_failed",
    "cudnn_status_alloc_failed",
)


def is_short_of_memory(error: BaseException) -> bool:
    """Tell whether memory was short, of the GPU or of the machine."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    said = str(error).lower()
    return isinstance(error, RuntimeError) and any(words in said for words in SAID)
