"""A network, floor or ceiling against a split: rows of the accuracy table and of the samples table."""

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
SAMPLE_COUNT = 64
EXTREME_COUNT = 8  # of the worst images, of those around the median, and of the best


@dataclass(frozen=True)
class Subject:
    """Who is measured."""

    name: str
    kind: str  # trial, floor, ceiling
    trial: int | None = None
    repeat_of: int | None = None
    parameters: int | None = None


@torch.inference_mode()
def evaluate(
    subject: Subject, run: Callable[[Tensor], Tensor], split: str, examples: Examples
) -> tuple[list[Row], Tensor]:
    """The subject's accuracy rows, one per threshold, and its cosines (N,).

    `run` takes (N, 3, 32, 32) uint8 and returns (N, 1, 28, 28) float32, on the device of `examples`.
    """
    cosines, errors, psnrs, ssims = [], [], [], []
    for images, targets in zip(
        examples.images.split(BATCH), examples.targets.split(BATCH), strict=True
    ):
        outputs = run(images).float()
        cosines.append(cosine_similarity(outputs, targets))
        errors.append((outputs - targets).square().flatten(1).mean(dim=1))
        psnrs.append(psnr_db(outputs, targets))
        ssims.append(ssim(outputs, targets))
    per_image = torch.cat(cosines).cpu()
    common = {
        "subject": subject.name,
        "kind": subject.kind,
        "trial": subject.trial,
        "repeat_of": subject.repeat_of,
        "parameters": subject.parameters,
        "split": split,
        "images": len(examples),
        "trainings": 1,
        "share_std": None,
        "cosine_mean": float(per_image.double().mean()),
        "mse": float(torch.cat(errors).double().mean()),
        "psnr_db": float(torch.cat(psnrs).double().mean()),
        "ssim": float(torch.cat(ssims).double().mean()),
    }
    shares = {threshold: cosine_accuracy(per_image, threshold) for threshold in THRESHOLDS}
    rows = [
        {**common, "threshold": t, "share": share, "share_mean": share}
        for t, share in shares.items()
    ]
    return rows, per_image


def with_repeats(rows: Iterable[Row]) -> list[Row]:
    """Fill in mean and standard deviation over each finalist and its repeats, threshold by threshold."""
    rows = list(rows)
    shares: dict[tuple[int, float], list[float]] = defaultdict(list)
    for row in rows:
        if row["kind"] == "trial":
            finalist = row["trial"] if row["repeat_of"] is None else row["repeat_of"]
            shares[finalist, row["threshold"]].append(row["share"])
    for row in rows:
        if row["kind"] == "trial" and row["repeat_of"] is None:
            trainings = shares[row["trial"], row["threshold"]]
            row["trainings"] = len(trainings)
            row["share_mean"] = statistics.mean(trainings)
            row["share_std"] = statistics.stdev(trainings) if len(trainings) > 1 else None
    return rows


def sample_indices(count: int) -> list[int]:
    """The same test images for every network and run: SAMPLE_COUNT of them, evenly spread."""
    return sorted({round(i) for i in np.linspace(0, count - 1, min(SAMPLE_COUNT, count))})


@torch.inference_mode()
def sample_rows(
    subject: Subject, run: Callable[[Tensor], Tensor], examples: Examples, cosines: Tensor
) -> list[Row]:
    """Input, truth and output, as PNG: of `sample_indices`, and of the subject's worst, median and best images."""
    order = cosines.argsort(stable=True)
    ranks = order.argsort()
    middle = max(0, (len(order) - EXTREME_COUNT) // 2)
    extremes = [
        order[:EXTREME_COUNT],
        order[middle : middle + EXTREME_COUNT],
        order[-EXTREME_COUNT:],
    ]
    indices = sorted({*sample_indices(len(examples)), *torch.cat(extremes).tolist()})
    images = examples.images[indices]
    outputs = run(images).float().cpu()
    return [
        {
            "subject": subject.name,
            "trial": subject.trial,
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
