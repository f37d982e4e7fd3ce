"""Rows of scores and samples on outputs whose cosines are known."""

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

from analysis.quality.scores import (
    SAMPLE_COUNT,
    Measured,
    evaluate,
    sample_indices,
    sample_rows,
)
from analysis.quality.spread import wilson
from analysis.tables.files import publish, read
from trainables.data.examples import Examples
from trainables.metrics.metric import Metric
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


def means(rows: list[Any]) -> dict[str, float]:
    """Each metric's mean over the images."""
    return {row["metric"]: row["value"] for row in rows if row["threshold"] is None}


def shares(rows: list[Any], metric: str = "cosine") -> dict[float, float]:
    """A metric's fractions by threshold."""
    found = (row for row in rows if row["metric"] == metric and row["threshold"] is not None)
    return {row["threshold"]: row["value"] for row in found}


def test_the_shares_count_the_images_that_reach_each_threshold() -> None:
    cosines = [0.5, 0.82, 0.96, 0.9995]
    rows, per_image = evaluate(TRIAL, parts_at(cosines), "test", examples(4), STUDY, METRICS)
    assert per_image["cosine"].tolist() == pytest.approx(cosines, abs=1e-5)
    assert shares(rows) == {t: sum(c >= t for c in cosines) / 4 for t in THRESHOLDS}
    assert (shares(rows)[0.8], shares(rows)[0.95]) == (0.75, 0.5)
    assert means(rows)["cosine"] == pytest.approx(statistics.mean(cosines), abs=1e-5)


def test_a_mean_has_the_interval_of_its_images_and_a_share_wilsons() -> None:
    cosines = [0.5, 0.82, 0.96, 0.9995]
    rows, _ = evaluate(TRIAL, parts_at(cosines), "test", examples(4), STUDY, METRICS)
    (mean,) = (row for row in rows if row["metric"] == "cosine" and row["threshold"] is None)
    half = 1.96 * statistics.stdev(cosines) / 2
    assert mean["high"] - mean["value"] == pytest.approx(half, abs=1e-5)
    assert mean["value"] - mean["low"] == pytest.approx(half, abs=1e-5)
    (share,) = (row for row in rows if row["threshold"] == 0.95)
    assert (share["low"], share["high"]) == wilson(0.5, 4)
    one, _ = evaluate(TRIAL, parts_at([0.9]), "test", examples(1), STUDY, METRICS)
    assert {row["low"] for row in one if row["threshold"] is None} == {None}


def test_batches_do_not_change_means_over_images() -> None:
    cosines = [0.6] * CHUNK + [0.99] * 3
    rows, per_image = evaluate(
        TRIAL, parts_at(cosines), "test", examples(len(cosines)), STUDY, METRICS
    )
    assert len(per_image["cosine"]) == rows[0]["images"] == len(cosines)
    assert shares(rows)[0.8] == 3 / len(cosines)
    assert means(rows)["mse"] == pytest.approx(
        statistics.mean((c - 1) ** 2 + 1 - c**2 for c in cosines), rel=1e-4
    )


def test_exact_outputs_reach_everything_and_nan_reaches_nothing_and_has_no_mean() -> None:
    exact, _ = evaluate(TRIAL, [torch.ones(3, 1, 28, 28)], "test", examples(3), STUDY, METRICS)
    assert set(shares(exact).values()) == {1.0}
    assert means(exact) == pytest.approx({"cosine": 1, "mse": 0, "psnr": 150, "ssim": 1})
    nothing = torch.full((3, 1, 28, 28), math.nan)
    broken, _ = evaluate(TRIAL, [nothing], "test", examples(3), STUDY, METRICS)
    assert set(shares(broken).values()) == {0.0}
    assert means(broken) == {}


def test_the_rows_fill_their_table(tmp_path: Any) -> None:
    data = examples(3)
    rows, values = evaluate(TRIAL, parts_at([0.9] * 3), "test", data, STUDY, METRICS)
    samples = sample_rows(TRIAL, lambda _: next(parts_at([0.9] * 3)), data, values, STUDY)
    for table, content in (("scores", rows), ("samples", samples)):
        publish(tmp_path, table, "r", [{"run": "r", **row} for row in content])
    frame = read(tmp_path, "scores", "r")
    assert frame.threshold.dropna().tolist() == list(THRESHOLDS)
    assert frame.metric[frame.threshold.isna()].tolist() == ["cosine", "mse", "psnr", "ssim"]
    told = (
        frame[["subject", "trial", "parameters", "split", "images", "trainings"]].iloc[0].tolist()
    )
    assert told == ["trial 7", 7, 42, "test", 3, 1]
    assert read(tmp_path, "samples", "r")["image"].tolist() == [0, 1, 2]


def test_parts_may_be_of_any_size_and_outputs_of_one_pixel_have_no_ssim() -> None:
    task = Task(output_shape=(2, 1, 1), low=-1.0, high=3.0)
    data = Examples(torch.zeros(5, 3, 8, 8, dtype=torch.uint8), torch.arange(10.0).view(5, 2, 1, 1))
    outputs = [data.targets[:1] + 0.4, data.targets[1:3] + 0.4, data.targets[3:] + 0.4]
    rows, values = evaluate(TRIAL, outputs, "test", data, task, METRICS)
    assert len(values["cosine"]) == 5
    assert means(rows)["psnr"] == pytest.approx(20)  # a tenth of the range
    assert {row["metric"] for row in rows} == {"cosine", "mse", "psnr"}


def test_an_own_metric_counts_images_for_which_it_is_defined_and_may_be_best_at_its_lowest() -> (
    None
):
    def error(outputs: Tensor, targets: Tensor, task: Task) -> Tensor:
        found = (outputs - targets).flatten(1).abs().amax(dim=1)
        return torch.where(found > 0.5, torch.nan, found)

    own = Metric("largest error", error, higher_is_better=False, thresholds=(0.1, 0.3))
    outputs = torch.ones(4, 1, 28, 28)
    for image, off in enumerate((0.0, 0.2, 0.4, 0.9)):
        outputs[image, 0, 3, 3] += off
    rows, values = evaluate(TRIAL, [outputs], "test", examples(4), STUDY, (*METRICS, own))
    mine = [row for row in rows if row["metric"] == "largest error"]
    assert {row["images"] for row in mine} == {3}
    assert means(mine)["largest error"] == pytest.approx(0.2)
    assert shares(mine, "largest error") == pytest.approx({0.1: 1 / 3, 0.3: 2 / 3})
    assert values["largest error"].isnan().tolist() == [False, False, False, True]

    outputs[3, 0, 0, 0] = math.inf  # an image that is broken is a miss
    rows, _ = evaluate(TRIAL, [outputs], "test", examples(4), STUDY, (own,))
    assert {row["images"] for row in rows} == {4}
    assert shares(rows, "largest error") == {0.1: 1 / 4, 0.3: 2 / 4}
    assert means(rows) == {}


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
    values = {"cosine": cosines, "psnr": 20 * cosines}

    def bright(images: Tensor) -> Tensor:
        return torch.full((len(images), 1, 28, 28), 1.7)

    def dim(images: Tensor) -> Tensor:
        return torch.full((len(images), 1, 28, 28), 0.5)

    first = sample_rows(TRIAL, bright, data, values, STUDY)
    second = sample_rows(Measured("trial 8", "trial", trial=8), dim, data, values, STUDY)
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
    cosines, ratios = torch.rand(2, 500, generator=torch.Generator().manual_seed(0))
    values = {"cosine": cosines, "psnr": 20 + ratios}
    rows = sample_rows(
        TRIAL, lambda images: torch.zeros(len(images), 1, 28, 28), data, values, STUDY
    )
    by_rank = {row["rank"]: row["cosine"] for row in rows}
    ordered = sorted(cosines.tolist())
    assert {*range(8), *range(246, 254), *range(492, 500)} <= set(by_rank)
    assert all(cosine == ordered[rank] for rank, cosine in by_rank.items())
    assert {row["image"] for row in rows} >= set(ratios.argsort()[:8].tolist())
    assert len({row["image"] for row in rows}) == len(rows) <= SAMPLE_COUNT + 32


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
    (row,) = sample_rows(
        TRIAL, lambda _: made[None], data, {"cosine": torch.ones(1), "psnr": torch.ones(1)}, task
    )
    for name in ("truth", "output"):
        assert decoded(row[name])[0].tolist() == ([pixels] if isinstance(pixels, int) else pixels)
