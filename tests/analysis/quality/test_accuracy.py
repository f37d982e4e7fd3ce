"""Accuracy rows and sample rows on outputs whose cosines are known."""

import io
import math
import statistics
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from analysis.quality.accuracy import (
    SAMPLE_COUNT,
    Measured,
    evaluate,
    sample_indices,
    sample_rows,
    with_repeats,
)
from analysis.tables.files import publish, read
from trainables.data.examples import Examples
from trainables.metrics.metric_registry import MetricSet
from trainables.pipelines.calling import CHUNK
from trainables.tasks import STUDY, Task
from trainables.thresholds import THRESHOLDS

METRICS = MetricSet().load()
TRIAL = Measured("trial 7", "trial", trial=7, parameters=42)


def examples(count: int) -> Examples:
    """Targets of ones; the red byte of every image says which image it is."""
    images = torch.zeros(count, 3, 32, 32, dtype=torch.uint8)
    images[:, 0] = (torch.arange(count) % 256).to(torch.uint8)[:, None, None]
    return Examples(images, torch.ones(count, 1, 28, 28))


def outputs_at(cosine: float) -> Tensor:
    """(1, 28, 28) at this cosine to the ones: a constant plus an alternating part."""
    sign = torch.ones(784)
    sign[::2] = -1
    return (cosine + math.sqrt(1 - cosine**2) * sign).reshape(1, 28, 28)


def parts_at(cosines: list[float]) -> Iterator[Tensor]:
    """Outputs at these cosines, some at a time."""
    for start in range(0, len(cosines), CHUNK):
        yield torch.stack([outputs_at(cosine) for cosine in cosines[start : start + CHUNK]])


def test_the_shares_count_the_images_that_reach_each_threshold() -> None:
    cosines = [0.5, 0.82, 0.96, 0.9995]
    rows, per_image = evaluate(TRIAL, parts_at(cosines), "test", examples(4), STUDY, METRICS)
    assert per_image.tolist() == pytest.approx(cosines, abs=1e-5)
    shares = {row["threshold"]: row["share"] for row in rows}
    assert shares == {t: sum(c >= t for c in cosines) / 4 for t in THRESHOLDS}
    assert (shares[0.8], shares[0.95]) == (0.75, 0.5)
    assert rows[0]["cosine_mean"] == pytest.approx(statistics.mean(cosines), abs=1e-5)


def test_batches_do_not_change_means_over_images() -> None:
    cosines = [0.6] * CHUNK + [0.99] * 3
    rows, per_image = evaluate(
        TRIAL, parts_at(cosines), "test", examples(len(cosines)), STUDY, METRICS
    )
    assert len(per_image) == rows[0]["images"] == len(cosines)
    assert rows[0]["share"] == 3 / len(cosines)
    assert rows[0]["mse"] == pytest.approx(
        statistics.mean((c - 1) ** 2 + 1 - c**2 for c in cosines), rel=1e-4
    )


def test_exact_outputs_reach_everything_and_nan_reaches_nothing() -> None:
    exact, _ = evaluate(TRIAL, [torch.ones(3, 1, 28, 28)], "test", examples(3), STUDY, METRICS)
    assert {row["share"] for row in exact} == {1.0}
    assert (exact[0]["mse"], exact[0]["psnr_db"]) == (0, pytest.approx(150))
    assert exact[0]["ssim"] == pytest.approx(1)
    nothing = torch.full((3, 1, 28, 28), math.nan)
    broken, _ = evaluate(TRIAL, [nothing], "test", examples(3), STUDY, METRICS)
    assert {row["share"] for row in broken} == {0.0}


def test_the_rows_fill_their_table(tmp_path: Any) -> None:
    data = examples(3)
    rows, cosines = evaluate(TRIAL, parts_at([0.9] * 3), "test", data, STUDY, METRICS)
    samples = sample_rows(TRIAL, lambda _: next(parts_at([0.9] * 3)), data, cosines, STUDY)
    for table, content in (("accuracy", rows), ("samples", samples)):
        publish(tmp_path, table, "r", [{"run": "r", **row} for row in content])
    frame = read(tmp_path, "accuracy", "r")
    assert frame["threshold"].tolist() == list(THRESHOLDS)
    told = (
        frame[["subject", "trial", "parameters", "split", "images", "trainings"]].iloc[0].tolist()
    )
    assert told == ["trial 7", 7, 42, "test", 3, 1]
    assert read(tmp_path, "samples", "r")["image"].tolist() == [0, 1, 2]


def test_parts_may_be_of_any_size_and_outputs_of_one_pixel_have_no_ssim(tmp_path: Any) -> None:
    task = Task(output_shape=(2, 1, 1), low=-1.0, high=3.0)
    data = Examples(torch.zeros(5, 3, 8, 8, dtype=torch.uint8), torch.arange(10.0).view(5, 2, 1, 1))
    outputs = [data.targets[:1] + 0.4, data.targets[1:3] + 0.4, data.targets[3:] + 0.4]
    rows, cosines = evaluate(TRIAL, outputs, "test", data, task, METRICS)
    assert len(cosines) == 5
    assert rows[0]["psnr_db"] == pytest.approx(20)  # a tenth of the range
    assert rows[0]["ssim"] is None
    publish(tmp_path, "accuracy", "r", [{"run": "r", **row} for row in rows])
    assert read(tmp_path, "accuracy", "r").ssim.isna().all()


def accuracy_row(
    trial: int | None, share: float, repeat_of: int | None = None, threshold: float = 0.95
) -> Any:
    row = {"kind": "floor" if trial is None else "trial", "trial": trial, "repeat_of": repeat_of}
    return {
        **row,
        "threshold": threshold,
        "share": share,
        "share_mean": share,
        "share_std": None,
        "trainings": 1,
    }


def test_a_finalist_gets_mean_and_sample_deviation_over_itself_and_its_repeats() -> None:
    rows = with_repeats(
        [
            accuracy_row(3, 0.9),
            accuracy_row(5, 0.5),
            accuracy_row(8, 0.8, repeat_of=3),
            accuracy_row(9, 0.7, repeat_of=3),
            accuracy_row(3, 0.1, threshold=0.99),
            accuracy_row(8, 0.3, repeat_of=3, threshold=0.99),
            accuracy_row(None, 0.2),
        ]
    )
    told = [(row["trainings"], row["share_mean"], row["share_std"]) for row in rows]
    assert told[0] == (3, pytest.approx(0.8), pytest.approx(0.1))
    assert told[1] == (1, 0.5, None)
    assert told[2:4] == [(1, 0.8, None), (1, 0.7, None)]
    assert told[4] == (2, pytest.approx(0.2), pytest.approx(math.sqrt(0.02)))
    assert told[6] == (1, 0.2, None)


@pytest.mark.parametrize(
    "count", [1, 2, SAMPLE_COUNT - 1, SAMPLE_COUNT, SAMPLE_COUNT + 1, 97, 6000, 10_000]
)
def test_the_sample_is_spread_over_the_whole_split(count: int) -> None:
    indices = sample_indices(count)
    assert len(set(indices)) == len(indices) == min(count, SAMPLE_COUNT)
    assert indices == sorted(indices)
    assert (indices[0], indices[-1]) == (0, count - 1)
    gaps = np.diff(indices)
    assert count == 1 or gaps.max() - gaps.min() <= 1


def decoded(png: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(png)) as image:
        assert image.format == "PNG"
        return np.asarray(image)


def test_samples_are_pngs_of_input_truth_and_clipped_output_of_the_same_images() -> None:
    data = examples(200)
    cosines = torch.linspace(0, 1, 200)

    def bright(images: Tensor) -> Tensor:
        return torch.full((len(images), 1, 28, 28), 1.7)

    def dim(images: Tensor) -> Tensor:
        return torch.full((len(images), 1, 28, 28), 0.5)

    first = sample_rows(TRIAL, bright, data, cosines, STUDY)
    second = sample_rows(Measured("trial 8", "trial", trial=8), dim, data, cosines, STUDY)
    for rows in (first, second):
        assert {row["image"] for row in rows} > set(sample_indices(200))
    for row in first:
        shown = decoded(row["input"])
        assert shown.shape == (32, 32, 3)
        assert (shown == [row["image"], 0, 0]).all()
        assert row["cosine"] == float(cosines[row["image"]])
        for name in ("truth", "output"):
            assert decoded(row[name]).shape == (28, 28)
            assert (decoded(row[name]) == 255).all()
    assert {int(decoded(row["output"])[0, 0]) for row in second} == {128}
    assert {row["trial"] for row in second} == {8}


def test_samples_hold_a_subjects_own_worst_median_and_best_images_with_their_ranks() -> None:
    data = examples(500)
    cosines = torch.rand(500, generator=torch.Generator().manual_seed(0))
    rows = sample_rows(
        TRIAL, lambda images: torch.zeros(len(images), 1, 28, 28), data, cosines, STUDY
    )
    by_rank = {row["rank"]: row["cosine"] for row in rows}
    ordered = sorted(cosines.tolist())
    assert {*range(8), *range(246, 254), *range(492, 500)} <= set(by_rank)
    assert all(cosine == ordered[rank] for rank, cosine in by_rank.items())
    assert len({row["image"] for row in rows}) == len(rows) <= SAMPLE_COUNT + 24


@pytest.mark.parametrize(
    ("values", "pixels"),
    [
        ([[-1.0], [1.0], [3.0]], [[0, 128, 255]]),
        ([[-9.0], [0.0], [9.0]], [[0, 64, 255]]),
        ([[1.0]], 128),
        ([[0.0], [2.0]], 128),
    ],
    ids=["colour", "clipped", "grey", "two channels are averaged"],
)
def test_samples_show_the_range_of_the_task_from_black_to_white(values: Any, pixels: Any) -> None:
    made = torch.tensor(values)[..., None]
    task = Task(output_shape=tuple(made.shape), low=-1.0, high=3.0)
    data = Examples(torch.zeros(1, 3, 8, 8, dtype=torch.uint8), made[None])
    (row,) = sample_rows(TRIAL, lambda _: made[None], data, torch.ones(1), task)
    for name in ("truth", "output"):
        assert decoded(row[name])[0].tolist() == ([pixels] if isinstance(pixels, int) else pixels)
