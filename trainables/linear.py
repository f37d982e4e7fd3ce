"""What is known of a pipeline without training: is it affine, and then the map that it is.

`examine` asks all of it, in some 400 calls for single images, 2,500 for outputs of one pixel, and
fewer where a call takes long. Kronecker factors are in `kronecker`.
"""

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from trainables.data.examples import as_float, shape_of
from trainables.kronecker import (
    MOST_LINES,
    Factors,
    apply,
    by_channels,
    largest_terms,
    pruned,
    sums,
)
from trainables.pipelines.calling import Pipeline, make_targets
from trainables.tasks import Shape, Task

EXACT_WITHIN = 1e-6  # of the range: what float32 loses
PAIRS = 64  # of images, that tell whether a pipeline is affine
PAIRS_SEC = 20.0  # after which there are fewer
FEWEST_PAIRS = 8
MAP_SEC = 60.0  # of calls for a step of finding a map; one that would take longer is left out
CHECKED = 16  # images of each kind, on which a map is checked that was fitted to others
MOST_RANK = 4  # of which factors are looked for
LINED = 4  # images that show of which rank a map is at least
FEWEST_IMAGES, MOST_IMAGES = 32, 160  # of noise, and as many negatives, to find factors from
FEWEST_OF_CHANNEL, FEWEST_ROUNDED = 16, 48  # images of noise in one channel
MOST_OF_CHANNEL = 2**24  # numbers in these
EQUATIONS_PER_UNKNOWN = 6  # fewer end in local optima, as 4 did
MOST_BASIS_IMAGES = 4096
BASIS_PART = 128
BASIS_SEC = 10.0  # a rotation at 32 × 32 took more than 2 s on a busy machine, and had no map


@dataclass(frozen=True, kw_only=True)
class AffineMap:
    """An affine pipeline: a sum of Kronecker products, or a matrix, and an offset.

    It is a Pipeline itself, on whatever device the images are.

    Attributes:
        offset: (c, h, w) float32, what it makes of a black image.
        terms: Their sum is the linear part for images in [0, 1]; none where `dense` is given.
        dense: (outputs, inputs) float32, both flattened; None where `terms` say all.
        error: How far it was from the pipeline at most, on images that it was not found from, as a
            share of the range; NaN where nobody looked.
    """

    offset: Tensor
    terms: tuple[Factors, ...] = ()
    dense: Tensor | None = None
    error: float = 0.0

    @property
    def rank(self) -> int | None:
        """How many Kronecker products it is the sum of; None where it is a matrix."""
        return len(self.terms) if self.dense is None else None

    def __call__(self, images: Tensor) -> Tensor:
        """Return the outputs (N, c, h, w) float32 for images (N, C, H, W) uint8."""
        return self.on_floats(as_float(images))

    def on_floats(self, images: Tensor) -> Tensor:
        """Return the outputs (N, c, h, w) for images (N, C, H, W) float32 in [0, 1]."""
        here = self.to(images.device)
        if here.dense is not None:
            flat = images.flatten(1) @ here.dense.T
            return flat.view(-1, *here.offset.shape) + here.offset
        return apply(here.terms, images) + here.offset

    def to(self, device: torch.device) -> Self:
        """Return the same map with its numbers on a device."""
        if self.offset.device == device:
            return self
        return replace(
            self,
            offset=self.offset.to(device),
            terms=tuple(Factors(*(part.to(device) for part in term)) for term in self.terms),
            dense=None if self.dense is None else self.dense.to(device),
        )

    def matrix(self) -> Tensor:
        """Return the linear part as one matrix (outputs, inputs), both flattened.

        It has as many numbers as inputs times outputs: 2.4 million for the study, too many for
        large images.
        """
        if self.dense is not None:
            return self.dense
        return torch.stack([term.matrix() for term in self.terms]).sum(dim=0)

    def as_terms(self, images: Tensor, most: int) -> Self:
        """Return the sum of a few Kronecker products, the largest first, that is near to this map.

        Args:
            images: (N, C, H, W) uint8, such as it is used on.
            most: Products at most, at least one.
        """
        if self.dense is not None:
            terms = largest_terms(self.dense, as_float(images), shape_of(self.offset), most)
        else:
            by_size = sorted(self.terms, key=lambda term: -math.prod(map(torch.norm, term)))
            terms = tuple(by_size[:most])
        return replace(self, terms=terms, dense=None, error=math.nan)

    def to_tensors(self) -> dict[str, Tensor]:
        """Return it as a file of tensors has it."""
        tensors = {"offset": self.offset, "error": torch.tensor(self.error, dtype=torch.float64)}
        if self.dense is not None:
            return tensors | {"dense": self.dense}
        for number, term in enumerate(self.terms):
            tensors |= {f"{name}.{number}": part for name, part in term._asdict().items()}
        return tensors

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> Self:
        """Read what `to_tensors` returned."""
        count = sum(name.startswith("rows.") for name in tensors)
        return cls(
            offset=tensors["offset"],
            error=float(tensors["error"]),
            dense=tensors.get("dense"),
            terms=tuple(
                Factors(*(tensors[f"{name}.{number}"] for name in Factors._fields))
                for number in range(count)
            ),
        )


def examine(
    pipeline: Pipeline, task: Task, images: Tensor | None = None, basis_sec: float = BASIS_SEC
) -> tuple[Task, AffineMap | None]:
    """Find whether a pipeline is affine, and its map if so.

    Args:
        pipeline: Deterministic.
        task: Its shapes and its range.
        images: Some of the set, (N, 3, H, W) uint8: what only happens on photographs shows there.
        basis_sec: As for `affine_map`.

    Returns:
        The task with `affine_residual`, `offset` and `kronecker_rank`, and the map; None where it
        is not affine, or no map was found within the limits. The task is as it was where the
        pipeline makes no numbers of such images, or raises.
    """
    try:
        black, call_sec = _timed(pipeline, torch.zeros(1, *task.input_shape, dtype=torch.uint8))
        fitting = int(PAIRS_SEC / 2 / call_sec)  # two calls a pair
        pairs = min(PAIRS, max(FEWEST_PAIRS, fitting))
        residual = affine_residual(pipeline, task, images, pairs)
    except Exception:  # of a person's own code, for noise that it was not written for
        return task, None
    if not math.isfinite(residual):
        return task, None
    offset = float(black.abs().max()) > EXACT_WITHIN * task.span
    known = replace(task, affine_residual=residual, offset=offset)
    if not known.is_affine:
        return known, None
    most_calls = int(MAP_SEC / call_sec)
    found = affine_map(pipeline, task, residual, most_calls, images, basis_sec)
    return replace(known, kronecker_rank=None if found is None else found.rank), found


def _timed(pipeline: Pipeline, image: Tensor) -> tuple[Tensor, float]:
    """Return the output of a call, and its seconds: the lower of two, the first may be cold."""
    seconds = []
    for _ in range(2):
        start = time.perf_counter()
        output = pipeline(image)
        seconds.append(time.perf_counter() - start)
    return output, max(min(seconds), 1e-9)


def affine_residual(
    pipeline: Pipeline, task: Task, images: Tensor | None = None, pairs: int = PAIRS
) -> float:
    """Return how far P((a + b) / 2) is from the mean of P(a) and P(b), as a share of the range.

    It is the largest difference in any pixel for some pairs: noise from fine to one colour, and
    images of the set where they are given. All have even values, so that their mean is an image
    too.

    Args:
        pipeline: Deterministic.
        task: Its input's shape and its range.
        images: (N, 3, H, W) uint8.
        pairs: How many; half of them are of these images.
    """
    count = pairs + 1
    real = None if images is None else images[: pairs // 2] // 2
    halves = coarse_noise(count - (0 if real is None else len(real)), task.input_shape) // 2
    halves = halves if real is None else torch.cat([halves, real])
    ends = make_targets(pipeline, halves * 2).double()
    means = make_targets(pipeline, halves[:-1] + halves[1:]).double()
    return _largest(means - (ends[:-1] + ends[1:]) / 2, task)


def affine_map(
    pipeline: Pipeline,
    task: Task,
    residual: float,
    most_calls: int,
    images: Tensor | None = None,
    basis_sec: float = BASIS_SEC,
) -> AffineMap | None:
    """Return the map that an affine pipeline is; None where none is found within the limits.

    A sum of up to 4 Kronecker products is looked for first, beginning with one for each two
    channels. What is none is shown an image for each input value, where these are few and quickly
    made, and the pipeline doesn't round.

    Args:
        pipeline: Deterministic and affine.
        task: Its shapes and its range.
        residual: Its `affine_residual`. A map is right where its error is at most twice that, or
            1e-6: rounding to 8 bits sets the first, float32 the second.
        most_calls: How many each step of the search may make; one that needs more is left out.
        images: Some of the set, (N, 3, H, W) uint8, on which the map is checked too.
        basis_sec: So much processor time the images for single input values may take.
    """
    black = torch.zeros(1, *task.input_shape, dtype=torch.uint8)
    (offset,) = pipeline(black)
    checked = coarse_noise(CHECKED, task.input_shape, seed=1)
    if images is not None:
        checked = torch.cat([checked, images[-CHECKED:]])
    if len(checked) > most_calls:
        return None
    truth = make_targets(pipeline, checked)
    within = max(EXACT_WITHIN, 2 * residual)
    for terms in _factors(pipeline, task, offset, residual, most_calls):
        found = AffineMap(offset=offset, terms=terms)
        found = replace(found, error=_largest(found(checked) - truth, task))
        if found.error <= within:
            return found
    if residual > EXACT_WITHIN or min(BASIS_PART, task.input_size) > most_calls:
        return None
    dense = _dense(pipeline, task, offset, basis_sec)
    if dense is None:
        return None
    found = AffineMap(offset=offset, dense=dense)
    return replace(found, error=_largest(found(checked) - truth, task))


def _largest(differences: Tensor, task: Task) -> float:
    return float(differences.abs().max()) / task.span


def _factors(
    pipeline: Pipeline, task: Task, offset: Tensor, residual: float, most_calls: int
) -> Iterator[tuple[Factors, ...]]:
    """Yield sums of one product and more that come near to a pipeline, as long as they may fit.

    Half the difference of its outputs for an image and its negative is the linear part, for the
    image less mid-grey: noise around zero, which tells every weight from every other.
    """
    prune = max(EXACT_WITHIN, residual) / 4
    terms = _by_channels(pipeline, task, residual, most_calls)
    if 0 < len(terms) <= MOST_RANK:
        yield tuple(pruned(term, prune) for term in terms)
    if _calls_for(_images_for(1, task)) > most_calls:
        return
    least = _least_rank(pipeline, task, offset, residual)
    count = _images_for(least, task)
    if least > MOST_RANK or count > MOST_IMAGES or _calls_for(count) > most_calls:
        return
    generator = torch.Generator().manual_seed(0)
    size = (count, *task.input_shape)
    plain = torch.randint(0, 256, size, dtype=torch.uint8, generator=generator)
    noise = torch.cat([plain, coarse_noise(FEWEST_IMAGES, task.input_shape, seed=2)])
    outputs = make_targets(pipeline, noise).double() - make_targets(pipeline, 255 - noise)
    ranks = range(least, MOST_RANK + 1)
    for terms in sums(noise.double() / 255 - 0.5, outputs / 2, ranks, plain=count):
        yield tuple(pruned(term, prune) for term in terms)


def _by_channels(
    pipeline: Pipeline, task: Task, residual: float, most_calls: int
) -> tuple[Factors, ...]:
    """Return a pipeline's factors where each channel gives each channel by one product."""
    (taken, height, width), (_, high, wide) = task.input_shape, task.output_shape
    fewest = FEWEST_OF_CHANNEL if residual <= EXACT_WITHIN else FEWEST_ROUNDED
    unknown_per_equation = max(height / wide, width / high)
    count = math.ceil(max(fewest, EQUATIONS_PER_UNKNOWN * unknown_per_equation))
    if count * height * width > MOST_OF_CHANNEL or 2 * taken * count > most_calls:
        return ()
    generator = torch.Generator().manual_seed(3)
    parts = []
    for channel in range(taken):
        noise = torch.randint(
            0, 256, (count, height, width), dtype=torch.uint8, generator=generator
        )
        images, negatives = torch.zeros(2, count, *task.input_shape, dtype=torch.uint8)
        images[:, channel], negatives[:, channel] = noise, 255 - noise
        outputs = make_targets(pipeline, images).double() - make_targets(pipeline, negatives)
        parts.append((noise[:, None].double() / 255 - 0.5, outputs / 2))
    within = max(EXACT_WITHIN, 2 * residual)
    return by_channels(parts, noise=within * task.span)


def _images_for(rank: int, task: Task) -> int:
    """Return how many images of noise show the factors of a sum of so many terms.

    Rows are found for all channels at once, from the lines of all outputs.
    """
    (taken, height, width), (made, high, wide) = task.input_shape, task.output_shape
    unknown_per_equation = max(taken * height / wide, width / (made * min(high, MOST_LINES)))
    return math.ceil(max(FEWEST_IMAGES, EQUATIONS_PER_UNKNOWN * rank * unknown_per_equation))


def _calls_for(count: int) -> int:
    """Return how many calls so many images of noise take, with coarse ones, and negatives."""
    return 2 * (count + FEWEST_IMAGES)


def _least_rank(pipeline: Pipeline, task: Task, offset: Tensor, residual: float) -> int:
    """Return of which Kronecker rank an affine pipeline is at least.

    A term makes a matrix of rank 1 of an image whose rows are one line or black: so many as are
    needed for the output are needed for the pipeline.
    """
    channels, height, width = task.input_shape
    generator = torch.Generator().manual_seed(0)
    rows, columns = (
        torch.randint(0, 2, (LINED, side), dtype=torch.uint8, generator=generator)
        for side in (height, width)
    )
    lined = 255 * rows[:, None, :, None] * columns[:, None, None, :]
    lit = torch.arange(LINED)[:, None] % (channels + 1)  # one channel after the other, and all
    lit = (lit == torch.arange(channels)) | (lit == channels)
    made = make_targets(pipeline, lined * lit[:, :, None, None]).double() - offset
    found = 1
    for unfolded in (made.flatten(1, 2), made.transpose(1, 2).flatten(2)):
        noise = (
            max(EXACT_WITHIN, 2 * residual)
            * task.span
            * sum(math.sqrt(n) for n in unfolded.shape[1:])
        )
        found = max(found, int((torch.linalg.svdvals(unfolded) > noise).sum(dim=1).max()))
    return found


def _dense(pipeline: Pipeline, task: Task, offset: Tensor, basis_sec: float) -> Tensor | None:
    """Return the matrix of an affine pipeline; None where that takes too many images or too long.

    It has a column for each input value, which is shown as the single bright one of an image.
    """
    if task.input_size > MOST_BASIS_IMAGES:
        return None
    single = torch.zeros(task.input_size, task.input_size, dtype=torch.uint8).fill_diagonal_(255)
    columns = []
    # Of this thread: on a busy machine the wall clock would say of a quick one that it is too slow
    end = time.thread_time() + basis_sec
    for part in single.unflatten(1, task.input_shape).split(BASIS_PART):
        columns.append((pipeline(part) - offset).flatten(1))
        if time.thread_time() > end:
            return None
    return torch.cat(columns).T.contiguous()


def coarse_noise(count: int, shape: Shape, seed: int = 0) -> Tensor:
    """Return noise (count, C, H, W) uint8 whose grains double from image to image.

    They begin with one pixel, and after one colour with one pixel again: what a pipeline does to
    plain areas shows as well as what it does to edges.
    """
    channels, height, width = shape
    generator = torch.Generator().manual_seed(seed)
    sizes = [2**power for power in range(max(height, width).bit_length() + 1)]
    images = []
    for number in range(count):
        grain = sizes[number % len(sizes)]
        grid = (channels, math.ceil(height / grain), math.ceil(width / grain))
        noise = torch.randint(0, 256, grid, dtype=torch.uint8, generator=generator)
        grown = noise.repeat_interleave(grain, dim=1).repeat_interleave(grain, dim=2)
        images.append(grown[:, :height, :width])
    return torch.stack(images)
