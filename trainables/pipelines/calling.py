"""How a person's pipeline is called, whatever it takes and gives, as one function over images.

    run = Calls(pipeline, "pil", image_size)
    run(images)  # (N, 3, H, W) uint8 → (N, c, h, w) float32

A pipeline gets copies, one image at a time: what it writes into them stays its own business.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from trainables.data.examples import as_float
from trainables.errors import UsageError
from trainables.tasks import shape_text

Pipeline = Callable[[Tensor], Tensor]  # (N, 3, H, W) uint8 → (N, c, h, w) float32
CHUNK = 1000  # images per call; 10,000 take several times as long each: nothing stays in the cache
MOST_CHANNELS = 4  # of an output: what has more in its last dimension is no image in rows


def make_targets(pipeline: Pipeline, images: Tensor) -> Tensor:
    """Run a pipeline over many images, a chunk at a time; shapes are those of Pipeline."""
    return torch.cat([pipeline(part) for part in images.split(CHUNK)])


def _pil(image: Tensor) -> Image.Image:
    return Image.fromarray(_array(image))


def _array(image: Tensor) -> np.ndarray:
    return image.permute(1, 2, 0).contiguous().numpy().copy()


GIVEN: Mapping[str, Callable[[Tensor], Any]] = {
    "pil": _pil,
    "uint8": Tensor.clone,
    "float": as_float,
    "array": _array,
    "dict": _array,
}
"""What makes of an image what a pipeline takes, by the word in `catalogue.TAKES`."""


BATCHES = ("float", "uint8")
"""Words of GIVEN for what may be given many at a time. Libraries for batches want floats."""


class Calls:
    """A person's pipeline as a function over many images.

    Args:
        pipeline: Theirs.
        takes: One of `catalogue.TAKES`.
        batched: Whether it gets them in one call, or one as a batch of one. `takes` must be among
            BATCHES for that.
    """

    def __init__(self, pipeline: Callable[..., Any], takes: str, *, batched: bool = False) -> None:
        self._pipeline = pipeline
        self._takes = takes
        self._batched = batched

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """Return the outputs (N, c, h, w) float32 for images (N, 3, H, W) uint8.

        Raises UsageError where it gives something that is no image, or one of another shape than
        for the first of them; and whatever the pipeline raises.
        """
        if self._batched:
            made = self._pipeline(GIVEN[self._takes](images))
            if not (isinstance(made, Tensor) and made.ndim == 4 and len(made) == len(images)):
                raise UsageError("it takes no batches")
            return in_floats(made)
        outputs = [self.one(image) for image in images]
        for output in outputs:
            if output.shape != outputs[0].shape:
                raise UsageError(
                    f"its output is {shape_text(outputs[0].shape)} for one image and "
                    f"{shape_text(output.shape)} for another: it has to give one size"
                )
        return torch.stack(outputs)

    @torch.no_grad()
    def one(self, image: Tensor) -> Tensor:
        """Return the output (c, h, w) float32 for one image (3, H, W) uint8."""
        given = GIVEN[self._takes](image)
        if self._batched:
            given = given[None]
        made = self._pipeline(image=given) if self._takes == "dict" else self._pipeline(given)
        return as_image(made)


def as_image(made: Any) -> Tensor:
    """Return what a pipeline made as (c, h, w) float32, bytes scaled to [0, 1].

    Raises UsageError where it is no image.
    """
    if isinstance(made, Mapping) and "image" in made:
        made = made["image"]
    in_rows = isinstance(made, Image.Image)
    if isinstance(made, Image.Image):
        made = np.asarray(made.convert("RGB") if made.mode in ("P", "PA") else made)
    if isinstance(made, np.ndarray) and made.dtype.kind in "buif":
        in_rows = in_rows or (made.ndim == 3 and made.shape[-1] <= MOST_CHANNELS)
        made = torch.from_numpy(_readable(made))
    if not isinstance(made, Tensor):
        raise UsageError(f"it gives a {type(made).__name__}, which is no image")
    numbers = made
    if numbers.ndim == 4 and len(numbers) == 1:
        numbers = numbers[0]  # as libraries for batches give it
    if numbers.ndim == 4:
        raise UsageError(f"it gives {len(numbers)} images for one")
    if numbers.ndim not in (2, 3) or not numbers.numel():
        raise UsageError(f"it gives {shape_text(numbers.shape)} numbers, which is no image")
    if numbers.ndim == 2:
        numbers = numbers[None]
    elif in_rows:
        numbers = numbers.permute(2, 0, 1)
    return in_floats(numbers)


def in_floats(numbers: Tensor) -> Tensor:
    """Return outputs of any shape as float32 on the CPU, bytes scaled to [0, 1].

    Raises UsageError where they are no image's.
    """
    if numbers.is_complex() or numbers.is_quantized or numbers.is_sparse:
        raise UsageError(f"it gives {numbers.dtype} numbers, which are no image's")
    numbers = numbers.detach().to("cpu")
    if numbers.dtype == torch.uint8:
        return as_float(numbers)
    if numbers.dtype == torch.uint16:
        return numbers.to(torch.float32) / 65_535
    return numbers.to(torch.float32, copy=True)


def _readable(array: np.ndarray) -> np.ndarray:
    """Return an array as PyTorch takes it: a copy in rows, in its machine's own byte order."""
    return np.array(array, dtype=array.dtype.newbyteorder("="), order="C")
