"""Tensors in Ray's object store, which brings them to each node once. Nobody may write to them."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import ray
import torch
from torch import Tensor

from trainables.losses.vgg16_weights import Vgg16


def put_in_store(tensors: Mapping[str, Tensor]) -> Any:
    """Return an object reference; as NumPy arrays, since tensors are copied into every process."""
    return ray.put({name: tensor.numpy() for name, tensor in tensors.items()})


@lru_cache(maxsize=3)  # the images, VGG16, and the map to start at
def from_store(reference: Any) -> dict[str, Tensor]:
    """Return views of the node's object store, which all processes of the node share."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # "not writable": that is the point
        return {name: torch.from_numpy(array) for name, array in ray.get(reference).items()}


@dataclass(frozen=True)
class StoredVgg16:
    """VGG16 with its weights in the object store.

    Attributes:
        reference: Object reference of its tensors.
        rest: Everything else about it.
    """

    reference: Any
    rest: Vgg16

    @classmethod
    def of(cls, vgg: Vgg16) -> "StoredVgg16":
        """Put its weights into the object store."""
        return cls(put_in_store(vgg.tensors), replace(vgg, tensors={}))

    def load(self) -> Vgg16:
        """Return it with its weights again."""
        return replace(self.rest, tensors=from_store(self.reference))
