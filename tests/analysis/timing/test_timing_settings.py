"""What can't be measured here is refused before anything starts, with what to type instead."""

import re
from typing import Any

import pytest
import torch

from analysis.timing import machine
from analysis.timing.subjects import FACTORS, Finalist
from analysis.timing.timing_settings import SETTINGS, TimingSettings, short_form, short_subjects
from docs.generate import flag_rows
from trainables.errors import UsageError
from trainables.tasks import STUDY

BEST = Finalist(7, "separable", "trial-0007.safetensors")


@pytest.fixture(autouse=True)
def without_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.fixture
def with_gpu(without_gpu: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"devices": ("cpu", "gpu")}, "--devices gpu: choose one of cpu, cuda"),
        (
            {"devices": ("cuda",)},
            "--devices cuda: PyTorch finds no GPU here; leave it out, or give --devices cpu",
        ),
        ({"batch_sizes": (1, 0)}, "--batch-sizes ≥ 1 must hold, but got 0"),
        ({"images": 0}, "--images ≥ 1 must hold, but got 0"),
        ({"series_sec": 1.49}, "--series-sec ≥ 1.5 must hold, but got 1.49"),
        ({"series_sec": float("nan")}, "--series-sec ≥ 1.5 must hold, but got nan"),
        ({"series_sec": float("inf")}, "--series-sec ≥ 1.5 must hold, but got inf"),
        ({"environments": ("calm",)}, "--environments calm: choose one of steady, default"),
        ({"threads": -1}, "--threads ≥ 0 must hold, but got -1"),
        (
            {"run": "r", "data": "photos"},
            "--data goes without --run: a run is timed on its own test images",
        ),
        (
            {"subject": ("json:loads", "mine")},
            "--subject 'mine': give a function of your own as package.module:function or "
            "path/file.py:function",
        ),
        (
            {"subject": ("my file.py:f",)},
            "--subject my file.py:f: there is no file 'my file.py'; correct the path",
        ),
        (
            {"subject": ("mine:f",)},
            "--subject mine:f: there is no module 'mine' in this directory",
        ),
    ],
)
def test_a_mistake_is_told_with_its_flag_and_what_to_type(
    setting: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=f"^{re.escape(message)}"):
        TimingSettings(**setting)


def test_a_batch_that_is_larger_than_the_images_is_refused() -> None:
    message = "--batch-sizes 2001: 2,000 images are timed; give sizes between 1 and 2000"
    with pytest.raises(UsageError, match=f"^{re.escape(message)}$"):
        TimingSettings(batch_sizes=(1, 2001)).sizes(2000, "cpu")


@pytest.mark.parametrize(
    "setting",
    [
        {"devices": ("cpu",)},
        {"batch_sizes": (1, 2000)},
        {"images": 1},
        {"series_sec": 1.5},
        {"environments": ("default",)},
        {"threads": 1},
        {"threads": 0},
        {"subject": ("json.decoder:JSONDecoder", f"{__file__}:f")},
    ],
)
def test_the_last_values_that_make_sense_are_taken(setting: dict[str, Any]) -> None:
    (name, value) = next(iter(setting.items()))
    assert getattr(TimingSettings(**setting), name) == value


def devices(settings: TimingSettings) -> list[str]:
    return list(dict.fromkeys(subject.device for subject in settings.subjects(STUDY)))


@pytest.mark.usefixtures("with_gpu")
def test_where_there_is_a_gpu_it_is_timed_after_the_cpu_unless_told_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (9, 0))
    assert devices(TimingSettings()) == ["cpu", "cuda"]
    assert devices(TimingSettings(devices=("cuda",))) == ["cuda"]


def test_where_there_is_no_gpu_the_cpu_is_timed() -> None:
    assert devices(TimingSettings()) == ["cpu"]


@pytest.mark.parametrize(
    ("count", "sizes"),
    [
        (10_000, [1, 64, 250, 1000]),
        (250, [1, 64, 250]),
        (100, [1, 64, 100]),
        (3, [1, 3]),
        (1, [1]),
    ],
)
def test_the_usual_batch_sizes_reach_as_far_as_the_images(count: int, sizes: list[int]) -> None:
    assert TimingSettings().sizes(count, "cpu") == sizes


def test_a_gpu_is_timed_with_the_largest_batch_too() -> None:
    assert TimingSettings().sizes(10_000, "cuda") == [1, 64, 250, 1000, 10_000]
    assert TimingSettings(batch_sizes=(8,)).sizes(10_000, "cuda") == [8]


def test_batch_sizes_are_taken_once_each_and_in_order() -> None:
    assert TimingSettings(batch_sizes=(64, 1, 64, 8)).sizes(2000, "cpu") == [1, 8, 64]


def test_a_full_measurement_takes_two_and_a_half_seconds_a_series_in_steady_processes() -> None:
    settings = TimingSettings()
    assert (settings.series_sec, settings.environments, settings.only) == (2.5, ("steady",), ())


def test_every_subject_is_timed_in_each_environment_and_in_the_default_one_says_so() -> None:
    settings = TimingSettings(
        only=("matrix, *",), environments=("steady", "default", "steady"), subject=("json:loads",)
    )
    found = [(one.name, one.environment) for one in settings.subjects(STUDY)]
    assert found == [
        ("matrix, dense", "steady"),
        ("matrix, factors", "steady"),
        ("json:loads", "steady"),
        ("matrix, dense, default environment", "default"),
        ("matrix, factors, default environment", "default"),
        ("json:loads, default environment", "default"),
    ]
    alone = TimingSettings(only=(FACTORS,), environments=("default",)).subjects(STUDY)
    assert [one.environment for one in alone] == ["default"]


@pytest.mark.parametrize(("images", "sizes"), [(2000, [1, 250]), (200, [1, 200]), (1, [1])])
def test_the_short_form_times_the_best_network_and_its_ceiling_against_torchvision(
    images: int, sizes: list[int]
) -> None:
    short = short_form(images, seed=5)
    subjects = short_subjects(short.subjects(STUDY, [BEST]), 7)
    names = ["torchvision uint8", "matrix, factors", "trial 7"]
    assert [one.name for one in subjects] == names
    assert short.sizes(images, "cpu") == sizes
    assert (short.series_sec, short.seed) == (2.5, 5)


def test_what_is_given_twice_is_timed_once() -> None:
    given = TimingSettings(
        devices=("cpu", "cpu"), subject=("json:loads", "json:loads"), only=("matrix, *",)
    )
    names = [subject.name for subject in given.subjects(STUDY)]
    assert names == ["matrix, dense", "matrix, factors", "json:loads"]


def test_more_threads_than_cores_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "cores", lambda: 12)
    assert TimingSettings(threads=12).threads == 12
    with pytest.raises(UsageError, match=r"--threads 13: there are 12 cores; give at most that"):
        TimingSettings(threads=13)


def test_every_flag_has_a_row_for_the_documentation() -> None:
    rows = {row.split("|")[1].strip(): row for row in flag_rows(SETTINGS)[2:]}
    assert len(rows) == 15
    assert "| 1 64 250 1000, on a GPU 10000 too |" in rows["`--batch-sizes`"]
    assert "| 2.5 | how long a series' turns may take" in rows["`--series-sec`"]
