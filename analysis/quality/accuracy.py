"""A network, floor or ceiling against a split: rows of the tables `accuracy` and `samples`."""

import io
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from analysis.tables.files import Row
from trainables.data.examples import Examples
from trainables.metrics import cosine_accuracy, cosine_similarity, psnr_db, ssim
from trainables.thresholds import THRESHOLDS

BATCH = 1000
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
    what: Measured, run: Callable[[Tensor], Tensor], split: str, examples: Examples
) -> tuple[list[Row], Tensor]:
    """Measure outputs against targets.

    Args:
        what: What `run` is.
        run: (N, 3, H, W) uint8 → (N, c, h, w) float32, on the device of `examples`.
        split: `validation` or `test`.
        examples: Its images and targets.

    Returns:
        Rows of the accuracy table, one per threshold, and the images' cosines (N,) on the CPU.
    """
    parts = []
    for images, targets in zip(
        examples.images.split(BATCH), examples.targets.split(BATCH), strict=True
    ):
        outputs = run(images).float()
        parts.append(
            torch.stack(
                [
                    cosine_similarity(outputs, targets),
                    (outputs - targets).square().flatten(1).mean(dim=1),
                    psnr_db(outputs, targets),
                    ssim(outputs, targets),
                ]
            )
        )
    values = torch.cat(parts, dim=1).cpu()
    common = {
        **vars(what),
        **dict(zip(MEANS, values.double().mean(dim=1).tolist(), strict=True)),
        "split": split,
        "images": len(examples),
        "trainings": 1,
        "share_std": None,
    }
    fractions = {threshold: cosine_accuracy(values[0], threshold) for threshold in THRESHOLDS}
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
    what: Measured, run: Callable[[Tensor], Tensor], examples: Examples, cosines: Tensor
) -> list[Row]:
    """Return rows of the samples table: input, truth and output of some images, as PNG.

    They are those of `sample_indices`, and the worst, those around the median, and the best.

    Args:
        what, run, examples: As for `evaluate`.
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
            "input": _png(images[position].permute(1, 2, 0)),
            "truth": _png(_grey(examples.targets[index, 0])),
            "output": _png(_grey(outputs[position, 0])),
        }
        for position, index in enumerate(indices)
    ]


def _grey(image: Tensor) -> Tensor:
    return (image.clamp(0, 1) * 255).round().to(torch.uint8)


def _png(pixels: Tensor) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels.cpu().numpy()).save(buffer, format="PNG")
    return buffer.getvalue()
