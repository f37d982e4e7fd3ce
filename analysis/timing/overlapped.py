"""A batch through a GPU with copies that overlap: what a careful service does.

https://docs.pytorch.org/tutorials/intermediate/pinmem_nonblock.html
"""

from collections.abc import Callable

import torch
from torch import Tensor

PIECE_IMAGES = 2048  # fewer, and launches take longer than copies


class Overlapped:
    """A subject that takes its batches in pieces, copied in and out beside the computation.

    Args:
        end_to_end: From images on the device to results on the device.
        device: Where they are.
    """

    def __init__(self, end_to_end: Callable[[Tensor], Tensor], device: torch.device) -> None:
        self._end_to_end = end_to_end
        self._device = device
        self._incoming, self._outgoing = (torch.cuda.Stream(device) for _ in range(2))

    def __call__(self, images: Tensor, results: Tensor) -> None:
        """Make results of images, both in pinned memory; they are there when it returns."""
        computing = torch.cuda.current_stream(self._device)
        pieces = zip(images.split(PIECE_IMAGES), results.split(PIECE_IMAGES), strict=True)
        for taken, made in pieces:
            with torch.cuda.stream(self._incoming):
                here = taken.to(self._device, non_blocking=True)
            computing.wait_stream(self._incoming)
            outputs = self._end_to_end(here)
            here.record_stream(computing)
            self._outgoing.wait_stream(computing)
            with torch.cuda.stream(self._outgoing):
                made.copy_(outputs, non_blocking=True)
            outputs.record_stream(self._outgoing)
        self._outgoing.synchronize()


class Bus:
    """Copies of batches alone, both ways at once: the least time of any subject on that GPU.

    Args:
        images: A batch in pinned memory.
        results: Its results in pinned memory.
        device: The GPU.
    """

    def __init__(self, images: Tensor, results: Tensor, device: torch.device) -> None:
        self._images, self._results = images, results
        self._images_there = images.to(device)
        self._results_there = results.to(device)
        self._incoming, self._outgoing = (torch.cuda.Stream(device) for _ in range(2))

    def copy(self) -> None:
        """Copy the batch there, and results back."""
        with torch.cuda.stream(self._incoming):
            self._images_there.copy_(self._images, non_blocking=True)
        with torch.cuda.stream(self._outgoing):
            self._results.copy_(self._results_there, non_blocking=True)
        self._incoming.synchronize()
        self._outgoing.synchronize()
