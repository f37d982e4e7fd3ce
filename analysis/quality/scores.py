"""A network, floor or ceiling against a split: rows of the tables `scores` and `samples`."""

import io
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from analysis.quality.spread import around_mean, over_trainings, wilson
from analysis.tables.files import Row
from trainables.data.examples import Examples
from trainables.metrics.metric import Metric
from trainables.tasks import Task

SAMPLE_COUNT = 64
EXTREME_COUNT = 8  # of the worst by each, of those around the median, and of the best


@dataclass(frozen=True)
class Measured:
    """What is measured, with the names of the scores table's columns."""

    subject: str
    kind: str  # trial, floor, ceiling
    trial: int | None = None
    repeat_of: int | None = None
    parameters: int | None = None


@torch.inference_mode()
def evaluate(
    what: Measured,
    outputs: Iterable[Tensor],
    split: str,
    examples: Examples,
    task: Task,
    metrics: Sequence[Metric],
) -> tuple[list[Row], dict[str, Tensor]]:
    """Measure outputs against targets.

    An image of which a metric gives NaN although its output is finite does not count: the metric is
    not defined for it. Where the output itself is not finite, the image is a miss, and there is no
    mean.

    Args:
        what: Whose outputs they are.
        outputs: In the order of the images, some at a time: (n, c, h, w) float32 each, on the
            device of `examples`.
        split: `validation` or `test`.
        examples: Its images and targets.
        task: Whose targets these are.
        metrics: What to measure.

    Returns:
        Rows of the scores table: of each metric its mean, and the fraction of images at each of its
        thresholds, none where it is not defined for any image. And each metric's values, (N,) on
        the CPU, by name.
    """
    parts: dict[str, list[Tensor]] = defaultdict(list)
    finite, done = [], 0
    for some in outputs:
        made = some.float()
        targets = examples.targets[done : done + len(made)]
        done += len(made)
        finite.append(made.isfinite().flatten(1).all(dim=1))
        for metric in metrics:
            parts[metric.name].append(metric.measure(made, targets, task))
    values = {name: torch.cat(part).cpu() for name, part in parts.items()}
    is_finite = torch.cat(finite).cpu()
    rows = []
    for metric in metrics:
        found = values[metric.name]
        counting = found[~(found.isnan() & is_finite)]
        common = {**vars(what), "split": split, "metric": metric.name, "images": len(counting)}
        rows += [common | row for row in _score_rows(metric, counting)]
    return over_trainings(rows), values


def _score_rows(metric: Metric, values: Tensor) -> list[Row]:
    """Return a metric's mean and its fractions, each with its interval.

    Args:
        metric: The metric.
        values: (n,) of the images that count.
    """
    count, rows = len(values), []
    if not count:
        return []
    mean = float(values.double().mean())
    if math.isfinite(mean):
        low, high = None, None
        if count > 1:
            low, high = around_mean(mean, float(values.double().std()), count)
        rows.append({"threshold": None, "value": mean, "low": low, "high": high})
    for threshold in metric.thresholds:
        reached = values >= threshold if metric.higher_is_better else values <= threshold
        fraction = float(reached.double().mean())
        low, high = wilson(fraction, count)
        rows.append({"threshold": threshold, "value": fraction, "low": low, "high": high})
    return rows


def sample_indices(count: int) -> list[int]:
    """Return the test images that are kept for every network and run: SAMPLE_COUNT, evenly spread.

    Args:
        count: Images in the split.
    """
    return sorted({round(i) for i in np.linspace(0, count - 1, min(SAMPLE_COUNT, count))})


@torch.inference_mode()
def sample_rows(
    what: Measured,
    run: Callable[[Tensor], Tensor],
    examples: Examples,
    values: Mapping[str, Tensor],
    task: Task,
) -> list[Row]:
    """Return rows of the samples table: input, truth and output of some images, as PNG.

    They are those of `sample_indices`, the worst by cosine similarity, those around the median, and
    the best; and the worst by PSNR.

    Args:
        what, examples, task: As for `evaluate`.
        run: (N, 3, H, W) uint8 → (N, c, h, w) float32, on the device of `examples`.
        values: (N,) of all images by metric, as `evaluate` returns them.
    """
    cosines = values["cosine"]
    order = cosines.argsort(stable=True)
    ranks = order.argsort()
    middle = max(0, (len(order) - EXTREME_COUNT) // 2)
    indices = sorted(
        {
            *sample_indices(len(examples)),
            *order[:EXTREME_COUNT].tolist(),
            *order[middle : middle + EXTREME_COUNT].tolist(),
            *order[-EXTREME_COUNT:].tolist(),
            *values["psnr"].argsort(stable=True)[:EXTREME_COUNT].tolist(),
        }
    )
    images = examples.images[indices]
    outputs = run(images).float().cpu()
    return [
        {
            "subject": what.subject,
            "trial": what.trial,
            "image": index,
            "cosine": float(cosines[index]),
            "rank": int(ranks[index]),
            "input": _png(images[position]),
            "truth": _png(as_bytes(examples.targets[index], task)),
            "output": _png(as_bytes(outputs[position], task)),
        }
        for position, index in enumerate(indices)
    ]


def as_bytes(image: Tensor, task: Task) -> Tensor:
    """Return an output (c, h, w) as a picture of it: one or three channels, uint8.

    0 and 255 are the ends of the task's range. The channels of what is neither grey nor three
    colours are averaged.
    """
    if len(image) not in (1, 3):
        image = image.mean(dim=0, keepdim=True)
    return (((image - task.low) / task.span).clamp(0, 1) * 255).round().to(torch.uint8)


def _png(image: Tensor) -> bytes:
    """Return an image (1 or 3, h, w) uint8 as a PNG file."""
    pixels = image[0] if len(image) == 1 else image.permute(1, 2, 0)
    buffer = io.BytesIO()
    Image.fromarray(pixels.cpu().numpy()).save(buffer, format="PNG")
    return buffer.getvalue()
