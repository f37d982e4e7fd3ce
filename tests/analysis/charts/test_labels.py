"""What may stand on one axis: names of data sets and machines, and series that are never pooled."""

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest

from analysis.charts.labels import accuracy_label, data_names, labelled, machines, task_names
from tests.analysis.made_runs import PROBES, as_read, run_row, trial_frame
from tests.analysis.timing.session_rows import quoted, series_rows

MORNING = datetime(2026, 3, 4, 9, 30, tzinfo=UTC)


def runs(*facts: dict[str, Any]) -> pd.DataFrame:
    """Runs `r0`, `r1`, … with these facts."""
    return as_read("runs", [run_row(f"r{number}") | fact for number, fact in enumerate(facts)])


def names(*facts: dict[str, Any], split: str = "validation") -> list[str]:
    found = data_names(runs(*facts), split)
    assert found.index.tolist() == [f"r{number}" for number in range(len(facts))]
    return found.tolist()


def pixels(fingerprint: str, images: int = 5_000, **more: Any) -> dict[str, Any]:
    return {"validation_fingerprint": fingerprint, "validation_images": images, **more}


def test_runs_on_the_same_pixels_share_the_plain_name() -> None:
    assert names({}, {}, {"data": "photos", **pixels("p")}) == ["cifar10", "cifar10", "photos"]


def test_a_folder_is_named_by_its_last_part() -> None:
    assert names(
        {"data": "/home/somebody/pictures/"}, {"data": "/", "validation_fingerprint": "others"}
    ) == [
        "pictures",
        "/",
    ]


def test_sets_of_one_name_and_different_size_are_told_apart_by_their_number_of_images() -> None:
    many = pixels("aaaaaaaa")
    assert names(many, pixels("bbbbbbbb", 500), many) == [
        "cifar10, 5,000 images",
        "cifar10, 500 images",
        "cifar10, 5,000 images",
    ]


def test_sets_of_one_name_and_size_are_told_apart_by_the_start_of_their_fingerprint() -> None:
    found = names(
        pixels("aaaaaaaa"), pixels("bbbbbbbb"), pixels("cccccccc", 500), {"data": "photos"}
    )
    assert found == [
        "cifar10, 5,000 images, aaaaaa",
        "cifar10, 5,000 images, bbbbbb",
        "cifar10, 500 images",
        "photos",
    ]


def test_the_same_pixels_have_one_name_whatever_the_pipeline() -> None:
    assert names(pixels("aaaaaaaa"), pixels("aaaaaaaa", pipeline="blur")) == ["cifar10"] * 2


def task(pipeline: str, height: int = 32, outputs: bytes = PROBES, **more: Any) -> dict[str, Any]:
    return {"pipeline": pipeline, "image_height": height, "probe_outputs": outputs, **more}


def test_tasks_are_named_by_their_pipeline_and_what_tells_them_apart() -> None:
    edited = np.full(64 * 784, 0.5, "<f4").tobytes()
    found = task_names(
        runs(
            task("study"),
            task("reference"),
            task("mine.py:grey"),
            task("b.py:blur"),
            task("c.py:blur"),
            task("c.py:blur", 64),
            task("c.py:blur", 64, edited),
        )
    )
    to = "to 1 × 28 × 28"
    assert found.tolist() == [
        *("study", "study", "grey", "b.py:blur"),
        f"c.py:blur, 32 × 32 {to}",
        f"c.py:blur, 64 × 32 {to}, version 1",
        f"c.py:blur, 64 × 32 {to}, version 2",
    ]


def test_versions_of_a_pipeline_are_numbered_by_the_age_of_their_runs_however_they_are_listed() -> (
    None
):
    edited = np.full(64 * 784, 0.5, "<f4").tobytes()
    later = {"started_at": datetime(2027, 1, 1, tzinfo=UTC)}
    found = runs(task("c.py:blur", outputs=edited, **later), task("c.py:blur"), task("c.py:blur"))
    expected = {"r0": "version 2", "r1": "version 1", "r2": "version 1"}
    for order in itertools.permutations(range(3)):
        named = task_names(found.iloc[list(order)])
        assert {run: name.rpartition(", ")[2] for run, name in named.items()} == expected
    facts = (task("c.py:blur", outputs=edited, **later), task("c.py:blur"))
    assert len(set(series(trials("r0"), trials("r1"), facts=facts))) == 2


def test_recorded_pairs_are_one_task_by_what_they_hold_however_their_directory_was_typed() -> None:
    others = np.full(64 * 784, 0.5, "<f4").tobytes()
    pairs = [task("recorded", data=data) for data in ("pairs", "./pairs/", "/home/me/pairs")]
    found = task_names(runs(*pairs, task("recorded", outputs=others, data="pairs")))
    assert found.iloc[:3].nunique() == 1
    assert found.iloc[3] not in found.iloc[:3].tolist()


def test_trials_for_different_pipelines_are_series_of_their_own() -> None:
    found = series(trials("r0"), trials("r1"), facts=(task("study"), task("mine.py:grey")))
    assert found == ["fc for study", "fc for grey"]


def test_the_accuracy_of_trials_is_named_by_the_threshold_of_their_runs() -> None:
    one, two = {"threshold": 0.9}, {"threshold": 0.95}
    same = labelled(pd.concat([trials("r0"), trials("r1")]), runs(one, one))
    assert accuracy_label(same) == "Cosine ≥ 0.9"
    mixed = labelled(pd.concat([trials("r0"), trials("r1")]), runs(one, two))
    assert accuracy_label(mixed) == "Cosine ≥ threshold"
    assert mixed.threshold.unique().tolist() == [0.9, 0.95]


def test_every_split_has_names_of_its_own() -> None:
    other_test = {"test_fingerprint": "bbbbbbbb", "test_images": 100}
    assert names({}, other_test) == ["cifar10", "cifar10"]
    assert names({}, other_test, split="test") == ["cifar10, 10,000 images", "cifar10, 100 images"]


def test_names_are_the_same_exactly_where_pixels_are() -> None:
    kinds = [("aaaaaaaa", 5_000), ("bbbbbbbb", 5_000), ("cccccccc", 9)]
    for chosen in itertools.product(kinds, repeat=3):
        found = names(*(pixels(*one) for one in chosen))
        for one, other in itertools.combinations(range(3), 2):
            assert (found[one] == found[other]) == (chosen[one] == chosen[other]), chosen


def trials(
    run: str = "r0", model: str = "fc", count: int = 1, loss: str = "mse", **columns: Any
) -> pd.DataFrame:
    return as_read(
        "trials", trial_frame(run_row(run) | {"model": model}, count, 3, loss).assign(**columns)
    )


def series(*frames: pd.DataFrame, facts: tuple[dict[str, Any], ...] = ({},)) -> list[str]:
    return labelled(pd.concat(frames, ignore_index=True), runs(*facts)).series.tolist()


def test_repeats_of_finalists_are_left_out() -> None:
    assert labelled(trials(count=4, repeat_of=[None, 0, None, 0]), runs({})).trial.tolist() == [
        0,
        2,
    ]


def test_on_one_set_of_images_a_series_is_named_by_its_network() -> None:
    assert series(trials(), trials("r1", "cnn"), facts=({}, {})) == ["fc", "cnn"]


def test_on_several_sets_of_images_it_names_them_too() -> None:
    photos = {"data": "photos", **pixels("p")}
    assert series(trials(), trials("r1"), facts=({}, photos)) == ["fc on cifar10", "fc on photos"]


def test_series_are_told_apart_by_validation_images_and_not_by_test_images() -> None:
    many, few, other_test = (
        pixels("p", 500),
        pixels("q", 50),
        {"test_fingerprint": "other", "test_images": 9},
    )
    both = trials(), trials("r1")
    assert series(*both, facts=(many, few)) == [
        "fc on cifar10, 500 images",
        "fc on cifar10, 50 images",
    ]
    assert series(*both, facts=(many, many | other_test)) == ["fc", "fc"]


def test_sets_of_runs_without_trials_do_not_count() -> None:
    assert series(trials(), facts=({}, {"data": "photos", **pixels("p")})) == ["fc"]


def test_another_loss_is_another_series() -> None:
    assert series(trials(), trials("r1", loss="perceptual"), facts=({}, {})) == [
        "fc, mse",
        "fc, perceptual",
    ]
    assert series(trials(loss="perceptual")) == ["fc, perceptual"]


def test_the_mean_squared_error_is_named_only_beside_another_loss_of_the_same_network() -> None:
    three = trials(), trials("r1", loss="perceptual"), trials("r2", "cnn")
    assert series(*three, facts=({}, {}, {})) == ["fc, mse", "fc, perceptual", "cnn"]


def test_a_class_of_ones_own_is_named_without_its_module() -> None:
    assert series(trials(model="my.networks:Small")) == ["Small"]


def test_trials_of_a_run_that_is_not_known_yet_are_of_unknown_data() -> None:
    assert labelled(trials("new"), runs({})).data_name.tolist() == ["unknown data"]


@pytest.mark.parametrize(
    ("reason", "ending", "state"),
    [
        ("max_epochs", "all epochs", "finished"),
        ("early_stopping", "stopped early", "finished"),
        ("asha", "stopped by ASHA", "stopped"),
        ("median", "stopped by the median rule", "stopped"),
        ("diverged", "diverged", "failed"),
        ("out_of_memory", "out of memory", "failed"),
        ("error", "failed", "failed"),
        ("interrupted", "interrupted", "interrupted"),
        (None, "running", "running"),
    ],
)
def test_every_way_to_end_has_a_state(reason: str | None, ending: str, state: str) -> None:
    (trial,) = labelled(trials(stop_reason=[reason]), runs({})).itertuples()
    assert (trial.ending, trial.state) == (ending, state)


def timings(*sessions: dict[str, Any]) -> pd.DataFrame:
    return as_read(
        "timings", [row for facts in sessions for row in series_rows("fc", 1, [1.0, 2.0], **facts)]
    )


def session(number: int = 1, run: str = "r", hours: int = 0, **more: Any) -> dict[str, Any]:
    facts = {"cpu_model": "AMD EPYC", "measured_at": MORNING + timedelta(hours=hours)}
    return {"session": number, "run": run, **facts, **more}


def test_measurements_come_newest_first_each_run_and_session_once() -> None:
    found = machines(timings(session(1), session(2, hours=2), session(1, "other", hours=1)))
    assert list(zip(found.run, found.session, strict=True)) == [("r", 2), ("other", 1), ("r", 1)]
    assert found.label.tolist() == [
        "r · 2026-03-04 11:30 · AMD EPYC, 2 threads",
        "other · 2026-03-04 10:30 · AMD EPYC, 2 threads",
        "r · 2026-03-04 09:30 · AMD EPYC, 2 threads",
    ]


def test_a_measurement_is_as_old_as_its_last_pass() -> None:
    found = machines(timings(session(1), session(2, hours=1), session(1, hours=2)))
    assert found.session.tolist() == [1, 2]
    assert found.measured_at.tolist() == [
        MORNING + timedelta(hours=2),
        MORNING + timedelta(hours=1),
    ]


@pytest.mark.parametrize(
    ("facts", "hardware"),
    [
        ({}, "AMD EPYC, 2 threads"),
        ({"gpu_model": "NVIDIA H200"}, "AMD EPYC, 2 threads, NVIDIA H200"),
        ({"threads": None}, "AMD EPYC"),
        ({"threads": None, "gpu_model": "NVIDIA H200"}, "AMD EPYC, NVIDIA H200"),
    ],
)
def test_the_hardware_is_told_as_far_as_it_is_known(facts: dict[str, Any], hardware: str) -> None:
    assert machines(timings(session(**facts))).hardware.tolist() == [hardware]


def test_the_gpu_is_told_even_when_only_some_turns_ran_on_it() -> None:
    rows = timings(session(device="cpu"), session(device="cuda", gpu_model="NVIDIA H200"))
    assert machines(rows).hardware.tolist() == ["AMD EPYC, 2 threads, NVIDIA H200"]


def test_sessions_of_the_same_minute_have_different_labels() -> None:
    found = machines(timings(session(1), session(2), session(3, hours=1)))
    label = "r · 2026-03-04 09:30 · AMD EPYC, 2 threads"
    assert sorted(found.label) == [
        f"{label} · session 1",
        f"{label} · session 2",
        "r · 2026-03-04 10:30 · AMD EPYC, 2 threads",
    ]


def test_what_the_study_says_is_no_measurement() -> None:
    assert machines(as_read("timings", quoted())).empty


def test_nothing_has_no_names() -> None:
    none = runs()
    assert data_names(none).empty
    empty = labelled(as_read("trials", []), none)
    assert empty.empty
    assert {"data_name", "series", "ending", "state"} <= set(empty.columns)
    assert machines(as_read("timings", [])).empty


def test_the_same_pixels_have_one_name_whatever_they_were_called() -> None:
    assert names({"data": "cifar10"}, {"data": "/somewhere/copy"}) == ["cifar10", "cifar10"]


def test_classes_of_one_name_from_two_modules_are_two_series() -> None:
    runs = [run_row("a") | {"model": "here:Net"}, run_row("b") | {"model": "there:Net"}]
    trials = pd.concat([trial_frame(run, 2, 1) for run in runs])
    assert set(labelled(trials, pd.DataFrame(runs)).series) == {"here:Net", "there:Net"}
    assert set(labelled(trials[trials.run == "a"], pd.DataFrame(runs[:1])).series) == {"Net"}
