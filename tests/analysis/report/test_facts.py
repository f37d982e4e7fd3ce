"""What is said of a run and of what it measured, without a page."""

import json
from pathlib import Path

import pandas as pd
import pytest

from analysis.report import facts, results
from analysis.tables.files import rows_of
from analysis.tables.parameters import space_text, spaces_text
from tests.analysis.made_runs import SPACE, as_read, png, run_row, sample_rows, trial_frame
from tests.analysis.report.made_reports import make_wide_run
from tests.analysis.timing.session_rows import compared, series_rows, torchvision
from trainables.hyperparameters import Parameter

SERVED = {"calls": 700, "p50_sec": 1.4e-4, "p90_sec": 2e-4, "p99_sec": 1.5e-3}


@pytest.fixture(scope="module")
def timings() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Turns and series of a pipeline of 100 µs singly and 20 µs in batches, and of a network."""
    rows = torchvision(1, [100.0] * 10) + torchvision(64, [20.0] * 10)
    rows += series_rows("trial 0", 1, [200.0] * 10, kind="trial", trial=0, **SERVED)
    wide = {"verdict": "invalid", "reason": "the processor lowered its clock"}
    rows += series_rows("trial 0", 64, [10.0] * 10, kind="trial", trial=0, **wide)
    return compared(rows)


def test_the_pipeline_is_told_by_its_steps_its_shapes_and_its_kind() -> None:
    assert dict(facts.pipeline(run_row("r"))) == {
        "Pipeline": "study",
        "Steps": "Resize → Grayscale → RandomHorizontalFlip → RandomVerticalFlip",
        "Is called with": "a tensor (3, H, W) of bytes, one image or many in one call",
        "Makes": "1 × 28 × 28 of 3 × 32 × 32, values from 0 to 1",
        "Is affine": "yes, without an offset, so linear, of Kronecker rank 1",
    }


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        (
            {"offset": True, "kronecker_rank": None},
            "yes, with an offset, of no small Kronecker rank",
        ),
        ({"affine_residual": 0.0213}, "no: it differs from an affine map by 2.13 % of its range"),
        ({"affine_residual": None}, "not looked at"),
    ],
)
def test_how_near_a_pipeline_is_to_an_affine_map_is_told(
    columns: dict[str, object], said: str
) -> None:
    assert dict(facts.pipeline(run_row("r") | columns))["Is affine"] == said


def test_optimiser_batch_size_and_what_ended_trials_are_told() -> None:
    run = run_row("r")
    trials = trial_frame(run, 3, 1).assign(repeat_of=None, parameters=None).to_dict("records")
    said = dict(facts.asked(run, trials, {"fc": 256}))
    assert said["Optimiser"] == "Adam, learning-rate schedule constant"
    assert said["Batch size"] == "256 images an update, the network's own"
    assert said["Trials"] == "3: 2 stopped by ASHA, 1 all epochs"


def test_a_batch_size_that_was_asked_for_and_weight_decay_are_told() -> None:
    run = run_row("r") | {"config": json.dumps({"batch_size": 1024})}
    run["space"] = space_text({**SPACE, "weight_decay": Parameter(0.0, 0.1)})
    said = dict(facts.asked(run, [], {"fc": 256}))
    assert said["Batch size"] == "1,024 images an update"
    assert said["Optimiser"].startswith("AdamW, ")


def test_networks_of_other_batch_sizes_are_told_with_theirs() -> None:
    run = run_row("r") | {"model": "auto", "space": spaces_text({"fc": SPACE, "kron": SPACE})}
    trials = [{"model": model, "parameters": None} for model in ("fc", "kron")]
    said = facts._batch_size({}, facts._networks(run, trials), {"fc": 256, "kron": 64})
    assert said == "the network's own: 256 for fc, 64 for kron"


def test_every_measure_has_its_interval(tmp_path: Path) -> None:
    make_wide_run(tmp_path)
    run, scores, trials = (
        rows_of(tmp_path / "tables", table, "wide") for table in ("runs", "scores", "trials")
    )
    grid = results.accuracy(run[0], scores, trials)
    assert {len(row) for row in grid.rows} == {len(grid.heads)}
    first = dict(zip(grid.heads, grid.rows[0], strict=True))
    assert first["mean cosine"] == "0.9900 [0.9890, 0.9910]"
    assert first["MSE"] == "0.004 [0.003, 0.005]"
    assert first["over trainings"] == "99.0 ± 1.0 %, n = 3"
    assert first["50%_edges"] == "0.8"


def test_a_run_without_repeats_has_no_column_of_them_and_says_so() -> None:
    run = run_row("r")
    scores = [
        {"subject": "trial 0", "kind": "trial", "trial": 0, "repeat_of": None, "split": "test"}
        | {"metric": "cosine", "threshold": 0.95, "value": 0.5, "low": 0.4, "high": 0.6}
        | {"images": 100, "trainings": 1, "mean": 0.5, "sd": None, "parameters": 7}
    ]
    grid = results.accuracy(run, scores, [])
    assert "over trainings" not in grid.heads
    assert any("One training each" in remark for remark in grid.remarks)


def test_the_worst_images_are_told_by_cosine_and_by_psnr() -> None:
    rows = [
        row | {"subject": "trial 0"} for row in sample_rows("r", trial_frame(run_row("r"), 1, 1))
    ]
    far = [row | {"output": png(28, 45)} if row["image"] == 20 else row for row in rows]
    torn = [row | {"output": b"\x89PNG torn"} if row["image"] == 0 else row for row in far]
    grid = results.failures(results.with_psnr(as_read("samples", torn)), 2)
    assert grid.title == "The images on which trial 0 is worst"
    assert list(grid.rows) == [
        ["1", "0", "0.9000", "–", "20", "0.9200", "6.2"],
        ["2", "1", "0.9010", "20.2", "1", "0.9010", "20.2"],
    ]


def test_what_networks_cost_and_see_is_told() -> None:
    card = {"subject": "separable", "parameters": 1795, "flops_per_image": 113_664}
    card |= {"weight_bytes": 7180, "receptive_height": 3, "receptive_width": 4}
    blind = card | {"subject": "trial 0", "receptive_height": None}
    assert [list(row) for row in results.sight([card, blind]).rows] == [
        ["separable", "1,795", "0.114", "7.01", "3 × 4"],
        ["trial 0", "1,795", "0.114", "7.01", "unknown"],
    ]


def test_a_time_stands_beside_its_verdict_and_what_is_invalid_has_no_ratio(
    timings: tuple[pd.DataFrame, pd.DataFrame],
) -> None:
    grid = results.speed(*timings, "cpu")
    assert [list(row) for row in grid.rows] == [
        ["trial 0", "invalid", "10 [10, 10]", "64", "200 [200, 200]", "–", "–"],
        ["torchvision uint8", "valid", "20 [20, 20]", "64", "100 [100, 100]", "1", "5 [5, 5]"],
    ]
    assert grid.remarks[-1].startswith("Not plainly valid on this machine: trial 0. ")


def test_what_a_service_asks_is_told(timings: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    (row,) = results.latency(timings[1], "cpu").rows
    assert row == ["trial 0", "valid", "140 µs", "200 µs", "1.5 ms", "500 ms", "100,000"]


def test_from_which_batch_size_on_a_network_is_faster_is_told(
    timings: tuple[pd.DataFrame, pd.DataFrame],
) -> None:
    (row,) = results.crossover(*timings, "cpu").rows
    assert row == ["trial 0", "never; unknown at batch 64"]
