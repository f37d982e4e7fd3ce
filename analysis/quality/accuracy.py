"""A network, floor or ceiling against a split: rows of the tables `accuracy` and `samples`."""

import io
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from analysis.tables.files import Row
from trainables.data.examples import Examples
from trainables.metrics.cosine import cosine_accuracy, cosine_similarity
from trainables.metrics.metric import Metric
from trainables.metrics.psnr import psnr_db
from trainables.metrics.ssim import WINDOW, ssim
from trainables.tasks import Task

MEANS = ("cosine_mean", "mse", "psnr_db", "ssim")
SAMPLE_COUNT = 64
EXTREME_COUNT = 8  # of the worst images, of those around the median, and of the best


@dataclass(frozen=True)
class Measured:
    """What is measured, with the names of the accuracy table's columns."""

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
) -> tuple[list[Row], Tensor]:
    """Measure outputs against targets.

    Args:
        what: Whose outputs they are.
        outputs: In the order of the images, some at a time: (n, c, h, w) float32 each, on the
            device of `examples`.
        split: `validation` or `test`.
        examples: Its images and targets.
        task: Whose targets these are.
        metrics: The first is the cosine, at whose thresholds images are counted.

    Returns:
        Rows of the accuracy table, one per threshold, and the images' cosines (N,) on the CPU.
    """
    parts, done = [], 0
    for some in outputs:
        made = some.float()
        targets = examples.targets[done : done + len(made)]
        done += len(made)
        parts.append(
            torch.stack(
                [
                    cosine_similarity(made, targets),
                    (made - targets).square().flatten(1).mean(dim=1),
                    psnr_db(made, targets, task),
                    ssim(made, targets, task),
                ]
            )
        )
    values = torch.cat(parts, dim=1).cpu()
    means = dict(zip(MEANS, values.double().mean(dim=1).tolist(), strict=True))
    if min(task.output_shape[1:]) < WINDOW:
        means["ssim"] = None
    common = {
        **vars(what),
        **means,
        "split": split,
        "images": len(examples),
        "trainings": 1,
        "share_std": None,
    }
    fractions = {
        threshold: cosine_accuracy(values[0], threshold) for threshold in metrics[0].thresholds
    }
    rows = [
        {**common, "threshold": threshold, "share": fraction, "share_mean": fraction}
        for threshold, fraction in fractions.items()
    ]
    return rows, values[0]


def with_repeats(rows: Iterable[Row]) -> list[Row]:
    """Fill in mean and standard deviation over each finalist and its repeats, by threshold."""
    rows = [row.copy() for row in rows]
    fractions: dict[tuple[int, float], list[float]] = defaultdict(list)
    for row in rows:
        if row["kind"] == "trial":
            finalist = row["trial"] if row["repeat_of"] is None else row["repeat_of"]
            fractions[finalist, row["threshold"]].append(row["share"])
    for row in rows:
        if row["kind"] == "trial" and row["repeat_of"] is None:
            trainings = fractions[row["trial"], row["threshold"]]
            row["trainings"] = len(trainings)
            row["share_mean"] = statistics.mean(trainings)
            row["share_std"] = statistics.stdev(trainings) if len(trainings) > 1 else None
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
    cosines: Tensor,
    task: Task,
) -> list[Row]:
    """Return rows of the samples table: input, truth and output of some images, as PNG.

    They are those of `sample_indices`, and the worst, those around the median, and the best.

    Args:
        what, examples, task: As for `evaluate`.
        run: (N, 3, H, W) uint8 → (N, c, h, w) float32, on the device of `examples`.
        cosines: (N,) of all images, as `evaluate` returns them.
    """
    order = cosines.argsort(stable=True)
    ranks = order.argsort()
    middle = max(0, (len(order) - EXTREME_COUNT) // 2)
    indices = sorted(
        {
            *sample_indices(len(examples)),
            *order[:EXTREME_COUNT].tolist(),
            *order[middle : middle + EXTREME_COUNT].tolist(),
            *order[-EXTREME_COUNT:].tolist(),
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
