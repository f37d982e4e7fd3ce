"""Data-parallel workers: each takes a shard of every batch, and gradients are added up."""

from dataclasses import dataclass

import torch
from torch import Tensor, distributed


@dataclass(frozen=True)
class Workers:
    """This process among those that train one network; alone by default.

    With more than one, the process group of `torch.distributed` must be up.
    """

    rank: int = 0
    count: int = 1

    def shard(self, batch: Tensor) -> Tensor:
        """Return this worker's part along the first dimension; all workers' make the whole."""
        return batch if self.count == 1 else batch[self.rank :: self.count]

    def add_up(self, tensors: list[Tensor]) -> list[Tensor]:
        """Return the sum of each tensor over all workers, in one message."""
        if self.count == 1:
            return tensors
        flat = torch.cat([tensor.flatten() for tensor in tensors])
        distributed.all_reduce(flat)
        parts = flat.split([tensor.numel() for tensor in tensors])
        return [part.view_as(tensor) for part, tensor in zip(parts, tensors, strict=True)]
