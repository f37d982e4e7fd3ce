"""How fast a device multiplies, measured: what a network's own rate is compared with."""

import time
from collections.abc import Callable

import torch

MATRIX_SIZE = {"cpu": 2048, "cuda": 8192}
TRIES = 5


def matrix_gflops(device: torch.device, precision: str) -> float:
    """Measure a square matrix product: 10⁹ FLOPs a second, 2 for each multiplication and addition.

    Takes about a second. A precision that is neither bfloat16 nor float32 counts as float32, which
    a GPU multiplies as `Precision.set_products` has left it.
    """
    dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
    size = MATRIX_SIZE[device.type]
    left, right = (torch.rand(size, size, device=device, dtype=dtype) for _ in range(2))
    return 2 * size**3 / shortest_sec(lambda: left @ right, device) / 1e9


def shortest_sec(run: Callable[[], object], device: torch.device) -> float:
    """Return the seconds of the shortest of TRIES calls, after an untimed one."""
    times = []
    for _ in range(1 + TRIES):
        start = time.perf_counter()
        run()
        finish(device)
        times.append(time.perf_counter() - start)
    return min(times[1:])


def finish(device: torch.device) -> None:
    """Wait until a GPU has done what it was given; a CPU has."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
