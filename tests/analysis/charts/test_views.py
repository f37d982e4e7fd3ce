"""From tables to what charts take."""

import base64
import io
import struct
import zlib
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from analysis.charts import views
from analysis.timing import comparison
from tests.analysis.made_runs import as_read, png, run_row, score_rows, searched
from tests.analysis.timing.session_rows import compared, quoted, series_rows, torchvision

LOSSES = [0.5, 0.3, 0.4, 0.2, 0.6]


def steps(trials: pd.DataFrame, run: str = "fc-1") -> list[tuple[int, float]]:
    found = views.best_so_far(trials)
    own = found[found.run == run]
    return list(zip(own.trial, own.best, strict=True))


def test_the_best_so_far_has_a_step_at_every_improvement_and_ends_at_the_last_trial() -> None:
    assert steps(searched(LOSSES)) == [(0, 0.5), (1, 0.3), (3, 0.2), (4, 0.2)]


def test_it_does_not_matter_in_which_order_the_trials_come() -> None:
    trials = searched(LOSSES)
    assert steps(trials.iloc[::-1]) == steps(trials)


def test_it_ends_at_the_last_trial_even_when_that_has_no_loss_yet() -> None:
    assert steps(searched([0.5, None, None])) == [(0, 0.5), (2, 0.5)]


def test_a_single_trial_is_a_single_step() -> None:
    assert steps(searched([0.5])) == [(0, 0.5)]


@pytest.mark.parametrize(
    "never",
    [
        {"stop_reason": ["max_epochs", reason, "asha"]}
        for reason in ("diverged", "out_of_memory", "error")
    ],
    ids=["diverged", "out of memory", "error"],
)
def test_a_failed_trial_is_no_step(never: dict[str, Any]) -> None:
    assert steps(searched([0.5, 0.1, 0.4], **never)) == [(0, 0.5), (2, 0.4)]


def test_a_repeat_is_neither_a_step_nor_the_end() -> None:
    assert steps(searched([0.5, 0.4, 0.1], repeat_of=[None, None, 1])) == [(0, 0.5), (1, 0.4)]


def test_every_run_and_series_has_its_own_steps() -> None:
    trials = pd.concat(
        [searched([0.2, 0.1]), searched([0.5, 0.6, 0.4], "cnn-1", "cnn")], ignore_index=True
    )
    found = views.best_so_far(trials)
    assert steps(trials) == [(0, 0.2), (1, 0.1)]
    assert steps(trials, "cnn-1") == [(0, 0.5), (2, 0.4)]
    assert dict(zip(found.run, found.series, strict=True)) == {"fc-1": "fc", "cnn-1": "cnn"}


def test_the_best_so_far_never_rises_and_is_the_lowest_loss_up_to_there() -> None:
    losses = np.random.default_rng(0).permutation(200) / 200 + 1
    found = steps(searched(losses.tolist()))
    assert found == [(trial, losses[: trial + 1].min()) for trial, _ in found]
    assert [best for _, best in found] == sorted((best for _, best in found), reverse=True)
    assert found[0][0] == 0
    assert found[-1] == (199, losses.min())


def test_without_a_finished_epoch_there_is_no_step() -> None:
    assert steps(searched([None, None])) == []


def test_the_best_trial_of_each_series_comes_from_whichever_run_has_it() -> None:
    trials = [
        searched([0.2, 0.3]),
        searched([0.4, 0.1], "fc-2"),
        searched([0.05, 0.06], "cnn-1", "cnn"),
    ]
    found = views.bests(pd.concat(trials, ignore_index=True))
    assert list(zip(found.series, found.run, found.trial, strict=True)) == [
        ("cnn", "cnn-1", 0),
        ("fc", "fc-2", 1),
    ]


def test_the_best_of_each_loss_of_a_run_is_the_most_accurate_one_the_best_of_all_first() -> None:
    losses, shares = ["mse", "mse", "perceptual", "perceptual"], [0.6, 0.5, 0.8, 0.9]
    trials = searched([0.4, 0.1, 0.2, 0.3], loss=losses, best_validation_accuracy=shares)
    assert list(zip(views.bests(trials).series, views.bests(trials).trial, strict=True)) == [
        ("fc, perceptual", 3),
        ("fc, mse", 0),
    ]
    assert views.foremost(trials, 2).trial.tolist() == [0, 3]
    kept = views.bests(trials, trials.loss == "mse")
    assert kept.trial.tolist() == [0], "ranked as the whole run is, though one loss is left"


def test_the_foremost_are_those_with_the_lowest_losses() -> None:
    assert views.foremost(searched(LOSSES), 3).trial.tolist() == [3, 1, 2]


def of_mixed_losses(run: str) -> pd.DataFrame:
    """Four trials: 0 is the most accurate of `mse`, although 1 has the lower loss."""
    losses, shares = ["mse", "mse", "perceptual", "perceptual"], [0.6, 0.5, 0.8, 0.9]
    return searched([0.4, 0.1, 0.2, 0.3], run, loss=losses, best_validation_accuracy=shares)


def test_the_best_of_a_run_is_the_same_whatever_runs_are_beside_it() -> None:
    low_loss, low_accuracy = [0.2, 0.1], [0.99, 0.5]
    alone = searched(low_loss, "fc-2", best_validation_accuracy=low_accuracy)
    mixed = of_mixed_losses("fc-1")
    for beside in ([], [mixed], [mixed, of_mixed_losses("fc-3")]):
        trials = pd.concat([*beside, alone.assign(series="fc, mse")], ignore_index=True)
        steps_of = trials[trials.run == "fc-2"].assign(series="its own")
        found = views.bests(pd.concat([trials[trials.run != "fc-2"], steps_of], ignore_index=True))
        bests = {
            series: (run, trial)
            for series, run, trial in zip(found.series, found.run, found.trial, strict=True)
        }
        assert bests["its own"] == ("fc-2", 1)
        assert not beside or bests["fc, mse"][1] == 0


def test_between_runs_of_one_loss_a_third_of_another_changes_nothing() -> None:
    one = searched([0.2], "fc-1", best_validation_cosine=0.99)
    two = searched([0.1], "fc-2", best_validation_cosine=0.98)
    other = searched([0.5], "vgg-1", loss="perceptual", best_validation_cosine=0.999)
    for trials in ([one, two], [one, two, other]):
        found = views.bests(pd.concat(trials, ignore_index=True)).set_index("series")
        assert found.run["fc"] == "fc-2"
    assert found.index.tolist() == ["fc, perceptual", "fc"]


def test_the_foremost_of_runs_that_rank_otherwise_are_not_those_of_one_run_alone() -> None:
    mixed = of_mixed_losses("fc-1").assign(series="fc", best_validation_cosine=0.5)
    other = searched([0.2, 0.1, 0.3], "fc-2", best_validation_cosine=[0.7, 0.8, 0.6])
    found = views.foremost(pd.concat([mixed, other], ignore_index=True), 3)
    assert found.run.tolist() == ["fc-2"] * 3
    assert found.trial.tolist() == [1, 0, 2]


def test_trials_without_a_loss_are_the_last_of_the_foremost() -> None:
    trials = searched([None, 0.3, None, 0.2])
    assert views.foremost(trials, 3).trial.tolist() == [3, 1, 0]
    assert views.foremost(trials, 4) is trials


def test_the_accuracy_of_the_best_trials_has_a_band_of_one_deviation_within_0_and_1() -> None:
    trials = searched([0.3, 0.2, 0.4])
    rows = score_rows(run_row("fc-1"), trials)
    for row in rows:
        row |= {"mean": {0.8: 0.995, 0.85: 0.004}.get(row["threshold"], 0.5)}
        row |= {"sd": None if row["threshold"] == 0.9 else 0.01}
    found = views.accuracy_of(as_read("scores", rows), views.bests(trials)).set_index("threshold")
    assert found.trial.unique().tolist() == [1]
    assert found.series.unique().tolist() == ["fc"]
    band = found[["low", "high"]]
    assert band.loc[0.8].tolist() == pytest.approx([0.985, 1.0])
    assert band.loc[0.85].tolist() == pytest.approx([0.0, 0.014])
    assert band.loc[0.9].tolist() == pytest.approx([0.5, 0.5])
    assert band.loc[0.95].tolist() == pytest.approx([0.49, 0.51])


def test_neither_other_splits_nor_repeats_nor_other_runs_count_as_the_accuracy_of_a_trial() -> None:
    trials = searched([0.2])
    (row, *_) = score_rows(run_row("fc-1"), trials)
    others = [{"split": "validation"}, {"repeat_of": 0}, {"run": "fc-2"}, {"trial": None}]
    found = views.accuracy_of(
        as_read("scores", [row | other for other in [{}, *others]]), views.bests(trials)
    )
    assert len(found) == 1
    assert (found.split.item(), found.run.item()) == ("test", "fc-1")


def test_baselines_are_floors_and_ceiling_of_one_run_on_the_test_images() -> None:
    trials = searched([0.2])
    rows = [row for name in ("fc-1", "fc-2") for row in score_rows(run_row(name), trials)]
    rows += [row | {"split": "validation"} for row in rows]
    found = views.baselines_of(as_read("scores", rows), "fc-1")
    assert set(found.subject) == {
        "flat image",
        "mean image",
        "pipeline without flips",
        "pipeline's own matrix",
    }
    assert (set(found.run), set(found.split)) == ({"fc-1"}, {"test"})
    assert not found.duplicated(["subject", "metric", "threshold"]).any()


RANKS = {30: 0, 10: 1, 50: 2, 31: 48, 11: 49, 51: 50, 12: 51, 52: 97, 32: 98, 33: 99}  # by image


def samples(ranks: dict[int, int], run: str = "fc-1") -> list[dict[str, Any]]:
    """Images of trial 0 with these ranks, input, truth and output 5, 10 and 15 bright."""
    pictures = {"input": png(32, 1), "truth": png(28, 2), "output": png(28, 3)}
    return [
        {"run": run, "subject": "trial 0", "trial": 0, "image": image, "rank": rank, **pictures}
        | {"cosine": 0.9 + rank / 1000}
        for image, rank in ranks.items()
    ]


def grid(
    rows: list[dict[str, Any]], order: str, count: int = 2, of: str = "fc", difference: bool = False
) -> tuple[pd.DataFrame, list[str]]:
    best = [
        searched([0.1], f"{model}-1", model)
        for model in ("fc", "cnn")
        if any(row["run"] == f"{model}-1" for row in rows)
    ]
    return views.image_grid(as_read("samples", rows), pd.concat(best), order, of, count, difference)


def shown(rows: list[dict[str, Any]], order: str, count: int = 2, of: str = "fc") -> list[int]:
    """The test images of the columns, the same in every row."""
    cells, names = grid(rows, order, count, of)
    by_row = [cells[cells.row == name] for name in names]
    assert all(row.column.tolist() == list(range(len(row))) for row in by_row)
    first, *others = [row.test_image.tolist() for row in by_row]
    assert all(other == first for other in others)
    return first


@pytest.mark.parametrize(
    ("order", "images"),
    [("worst", [30, 10]), ("median", [11, 51]), ("best", [32, 33])],
    ids=["worst", "median", "best"],
)
def test_images_are_chosen_by_their_rank_among_all_test_images(
    order: str, images: list[int]
) -> None:
    assert shown(samples(RANKS), order) == images


def test_the_median_is_that_of_all_test_images_and_not_of_those_that_were_kept() -> None:
    assert shown(samples({1: 0, 2: 1, 3: 2, 4: 3, 5: 49, 6: 99}), "median", 1) == [5]


def test_the_worst_images_are_those_of_the_chosen_network() -> None:
    rows = samples({1: 0, 2: 1, 3: 2}) + samples({1: 2, 2: 1, 3: 0}, "cnn-1")
    assert shown(rows, "worst", 1, "fc") == [1]
    assert shown(rows, "worst", 1, "cnn") == [3]


def test_spread_images_lie_evenly_over_those_that_all_networks_have() -> None:
    rows = samples(dict.fromkeys(range(10), 0)) + samples(
        dict.fromkeys(range(0, 10, 2), 0), "cnn-1"
    )
    assert shown(rows, "spread", 3) == [0, 4, 8]
    assert shown(rows, "spread", 99) == [0, 2, 4, 6, 8]


def test_spread_images_are_the_networks_own_where_the_networks_share_none() -> None:
    assert shown(samples({5: 0, 1: 1}) + samples({2: 0}, "cnn-1"), "spread", 8) == [1, 5]


def test_rows_are_input_pipeline_and_each_network() -> None:
    rows = samples({0: 0, 1: 1}) + samples({0: 0, 1: 1}, "cnn-1")
    assert grid(rows, "spread")[1] == ["input", "pipeline", "fc", "cnn"]
    cells, names = grid(rows, "spread", difference=True)
    assert names == ["input", "pipeline", "fc", "fc − pipeline", "cnn", "cnn − pipeline"]
    assert cells.row.value_counts().to_dict() == dict.fromkeys(names, 2)


def test_each_picture_stands_in_its_row_and_outputs_have_their_cosine() -> None:
    cells, _ = grid(samples({7: 12}), "spread")
    assert [pixel(image)[0] for image in cells.image] == [5, 10, 15]
    assert cells.note.tolist() == ["", "", "cos 0.912"]


def test_a_network_that_lacks_an_image_has_a_blank_cell_there() -> None:
    rows = samples({1: 0, 2: 1}) + samples({2: 0}, "cnn-1")
    cells, _ = grid(rows, "worst", difference=True)
    cnn = cells[cells.row.str.startswith("cnn")]
    assert cnn.test_image.tolist() == [1, 2, 1, 2]
    assert [image == views.BLANK for image in cnn.image] == [True, False, True, False]
    assert cnn.note.tolist() == ["", "cos 0.900", "", ""]
    assert views.BLANK not in cells[~cells.row.str.startswith("cnn")].image.tolist()


def bomb(side: int) -> bytes:
    """A PNG of a few bytes that says it has so many pixels a side."""
    whole = png(28, 1)
    size = b"IHDR" + struct.pack(">II", side, side) + whole[24:29]
    return whole[:12] + size + struct.pack(">I", zlib.crc32(size)) + whole[33:]


@pytest.mark.parametrize(
    "damaged",
    [bomb(1025), bomb(60_000), png(28, 1)[:50], b"", b"GIF89a", b"\x89PNG\r\n\x1a\n"],
    ids=["large", "huge", "cut off", "empty", "no PNG", "no header"],
)
def test_an_image_that_is_damaged_or_far_too_large_is_a_blank_that_says_so(damaged: bytes) -> None:
    (row,) = samples({7: 12})
    cells, _ = grid([row | {"output": damaged}], "spread", difference=True)
    assert cells.image.tolist()[2:] == [views.BLANK, views.BLANK]
    assert cells.note.tolist() == ["", "", "damaged", ""]
    cells, _ = grid([row | {"input": damaged, "truth": damaged}], "spread")
    assert cells.note.tolist() == ["damaged", "damaged", "cos 0.912"]


def pixel(uri: str) -> tuple[int, ...]:
    """The colour of the first pixel, as red, green and blue."""
    head, data = uri.split(",")
    assert head == "data:image/png;base64"
    return tuple(
        np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"))[0, 0].tolist()
    )


@pytest.mark.parametrize(
    ("output", "truth", "colour"),
    [
        (20, 10, (255, 205, 205)),
        (10, 20, (205, 205, 255)),
        (10, 10, (255, 255, 255)),
        (51, 0, (255, 0, 0)),
        (0, 51, (0, 0, 255)),
    ],
    ids=["too bright", "too dark", "right", "white for black", "black for white"],
)
def test_the_difference_is_red_where_too_bright_and_blue_where_too_dark(
    output: int, truth: int, colour: tuple[int, ...]
) -> None:
    (row,) = samples({0: 0})
    cells, names = grid(
        [row | {"output": png(28, output), "truth": png(28, truth)}], "spread", difference=True
    )
    assert names[-1] == "fc − pipeline"
    assert pixel(cells.image.iloc[-1]) == colour


def test_without_images_the_grid_is_empty() -> None:
    cells, names = views.image_grid(
        as_read("samples", []), searched([0.1]), "spread", "fc", 8, True
    )
    assert cells.empty
    assert names == ["input", "pipeline"]


def test_a_measure_comes_with_its_interval_and_an_open_verdict_is_called_unfinished() -> None:
    times = [1.0, 2.0, 2.5, 3.0, 3.0, 3.0, 3.5, 4.0, 5.0]
    _, series = compared([*series_rows("fc", 1, times, verdict=None), *torchvision(1, [8.0] * 5)])
    whole, device = (
        views.measured(series, measure).set_index("subject") for measure in ("end_to_end", "device")
    )
    assert whole.loc["fc", ["us", "lower", "upper"]].tolist() == [3.0, 2.0, 4.0]
    assert device.loc["fc", ["us", "lower", "upper"]].tolist() == [1.5, 1.0, 2.0]
    assert whole.verdict.to_dict() == {"fc": "unfinished", "torchvision uint8": "valid"}


def test_a_series_without_the_measure_is_left_out() -> None:
    rows = as_read("timings", [*series_rows("fc", 1, [1.0]), *torchvision(1, [8.0])])
    rows.loc[rows.subject == "fc", "device_sec"] = None
    series = comparison.summary(comparison.turns(rows))
    assert views.measured(series, "device").subject.tolist() == ["torchvision uint8"]
    assert set(views.measured(series, "end_to_end").subject) == {"fc", "torchvision uint8"}


def test_the_studys_marks_are_of_one_device_in_microseconds_an_image_and_once_each() -> None:
    rows = as_read("timings", [*quoted(1), *quoted(2), *torchvision(1, [8.0])])
    cuda, cpu = (views.study_marks(rows, device) for device in ("cuda", "cpu"))
    assert dict(zip(cuda.subject, cuda.us.round(9), strict=True)) == {
        "study: fc": 14.0,
        "study: cnn": 58.7,
    }
    assert sorted(cpu.subject) == ["study: cnn", "study: fc", "study: transforms image by image"]
    assert len(cuda) == 2


def test_speedups_are_ratios_of_the_same_round_to_the_faster_torchvision_at_each_batch_size() -> (
    None
):
    luck = np.random.default_rng(0)
    turns, series = compared(
        [
            *torchvision(1, luck.uniform(90, 110, 9)),
            *torchvision(1, [400.0] * 9, subject="torchvision float32"),
            *torchvision(64, [40.0] * 9),
            *series_rows("fc", 1, luck.uniform(45, 55, 9)),
            *series_rows("fc", 64, [10.0] * 9),
            *series_rows("fc", 1000, [1.0] * 9),
        ]
    )
    found = views.speedups(turns, series, "cpu")
    assert list(zip(found.subject, found.batch_size, strict=True)) == [("fc", 1), ("fc", 64)]
    fc = series[series.subject == "fc"].iloc[0]
    expected = comparison.times_faster(
        turns, fc, series[series.subject == "torchvision uint8"].iloc[0]
    )
    first, second = found.to_dict("records")
    assert [first[name] for name in ("median", "low", "high", "pairs")] == [
        expected.median, expected.low, expected.high, 9
    ]  # fmt: skip
    assert second == {
        "subject": "fc",
        "batch_size": 64,
        "median": 4.0,
        "low": 4.0,
        "high": 4.0,
        "pairs": 9,
        "verdict": "valid",
    }


def test_only_series_of_the_same_device_are_compared() -> None:
    turns, series = compared(
        [
            *torchvision(1, [8.0]),
            *series_rows("fc", 1, [2.0]),
            *series_rows("fc", 1, [1.0], device="cuda"),
        ]
    )
    assert views.speedups(turns, series, "cpu")["median"].tolist() == [4.0]
    assert views.speedups(turns, series, "cuda").empty


@pytest.mark.parametrize(("size", "drawn"), [((200, 100), (128, 64)), ((5, 3), (5, 3))])
def test_colour_images_of_any_task_are_drawn_and_large_ones_made_smaller(
    size: tuple[int, int], drawn: tuple[int, int]
) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", size, (255, 0, 10)).save(buffer, format="PNG")
    image = views.decoded(buffer.getvalue())
    assert image is not None
    assert (image.mode, image.size, image.getpixel((0, 0))) == ("RGB", drawn, (255, 0, 10))
