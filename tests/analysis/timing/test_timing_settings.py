"""What can't be measured here is refused before anything starts, with the flag and what to type instead."""

import os
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from analysis.timing import machine
from analysis.timing.subjects import Finalist
from analysis.timing.timing_settings import TimingConfig, short_form
from trainables.data.image_set import ImageSet

BEST = Finalist(7, "separable", "trial-0007.safetensors")


def images(count: int) -> ImageSet:
    return ImageSet(
        "made up", "test", torch.zeros(1, 3, 32, 32, dtype=torch.uint8).expand(count, -1, -1, -1)
    )


def config(count: int = 2000, **more: Any) -> TimingConfig:
    return TimingConfig(run="r", images=images(count), **more)


@pytest.fixture(autouse=True)
def without_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.fixture
def with_gpu(without_gpu: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"devices": ("cpu", "gpu")}, "--devices gpu: there is no such device; give cpu or cuda"),
        (
            {"devices": ("cuda",)},
            "--devices cuda: PyTorch finds no GPU here; leave it out, or give --devices cpu",
        ),
        (
            {"batch_sizes": (1, 2001)},
            "--batch-sizes 2001: 2,000 images are timed; give sizes between 1 and 2000",
        ),
        (
            {"batch_sizes": (0,)},
            "--batch-sizes 0: 2,000 images are timed; give sizes between 1 and 2000",
        ),
        ({"passes": 1}, "--passes must be at least 2, but got 1"),
        ({"series_sec": 0.09}, "--series-sec must be at least 0.1, but got 0.09"),
        ({"series_sec": float("nan")}, "--series-sec must be at least 0.1, but got nan"),
        ({"threads": -1}, "--threads must be at least 0, but got -1"),
        (
            {"own": ("mine:f", "mine")},
            "--subject 'mine': give a function of your own as package.module:function",
        ),
        (
            {"own": ("my file.py:f",)},
            "--subject 'my file.py:f': give a function of your own as package.module:",
        ),
        (
            {"own": ("mine:f()",)},
            "--subject 'mine:f()': give a function of your own as package.module:function",
        ),
    ],
)
def test_a_mistake_is_told_with_its_flag_and_what_to_type(
    setting: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        config(**setting)


@pytest.mark.parametrize(
    "setting",
    [
        {"devices": ("cpu",)},
        {"batch_sizes": (1, 2000)},
        {"passes": 2},
        {"series_sec": 0.1},
        {"threads": 1},
        {"own": ("package.module_2:function", "m:f")},
    ],
)
def test_the_last_values_that_make_sense_are_taken(setting: dict[str, Any]) -> None:
    (name, value) = next(iter(setting.items()))
    assert getattr(config(**setting), name) == value


@pytest.mark.usefixtures("with_gpu")
def test_where_there_is_a_gpu_it_is_timed_after_the_cpu_unless_told_otherwise() -> None:
    assert config().devices == ("cpu", "cuda")
    assert config(devices=("cuda",)).devices == ("cuda",)


def test_where_there_is_no_gpu_the_cpu_is_timed() -> None:
    assert config().devices == ("cpu",)


@pytest.mark.parametrize(
    ("count", "sizes"),
    [
        (10_000, (1, 8, 64, 250, 1000, 10_000)),
        (2000, (1, 8, 64, 250, 1000, 2000)),
        (250, (1, 8, 64, 250)),
        (3, (1, 3)),
        (1, (1,)),
    ],
)
def test_the_usual_batch_sizes_reach_as_far_as_the_images(
    count: int, sizes: tuple[int, ...]
) -> None:
    assert config(count).batch_sizes == sizes


def test_batch_sizes_are_taken_once_each_and_in_order() -> None:
    assert config(batch_sizes=(64, 1, 64, 8)).batch_sizes == (1, 8, 64)


def test_threads_are_one_a_core_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "cores", lambda: 12)
    assert config().threads == 12
    assert config(threads=3).threads == 3


def test_a_full_measurement_is_thirty_passes_of_a_minute_a_series() -> None:
    assert (config().passes, config().series_sec, config().finalists, config().only) == (
        30,
        20.0,
        (),
        (),
    )


def test_tables_lie_in_the_storage() -> None:
    assert config(storage=f"some{os.sep}where").tables == Path("some/where/tables")


def test_the_short_form_times_the_best_network_and_its_ceiling_against_torchvision() -> None:
    short = short_form("r", "kept", images(10_000), BEST, seed=5)
    assert short.only == ("torchvision uint8", "torchvision float32", "matrix, factors", "trial 7")
    assert short.finalists == (BEST,)
    assert len(short.images) == 2000
    assert short.batch_sizes == (1, 1000)
    assert (short.run, short.storage, short.seed) == ("r", "kept", 5)
    assert short.passes == 10
    assert short.series_sec == 1.5


@pytest.mark.parametrize(
    ("count", "timed", "sizes"),
    [(2500, 2000, (1, 1000)), (1500, 1500, (1, 1000)), (300, 300, (1, 300)), (1, 1, (1,))],
)
def test_the_short_form_makes_do_with_fewer_images(
    count: int, timed: int, sizes: tuple[int, ...]
) -> None:
    short = short_form("r", "kept", images(count), BEST, seed=0)
    assert len(short.images) == timed
    assert short.batch_sizes == sizes


def test_what_is_given_twice_is_timed_once() -> None:
    given = config(devices=("cpu", "cpu"), own=("a:b", "a:b"))
    assert (given.devices, given.own) == (("cpu",), ("a:b",))


def test_more_threads_than_cores_are_refused() -> None:
    with pytest.raises(
        ValueError, match=rf"--threads 4096: there are {machine.cores()} cores; give at most that"
    ):
        config(threads=4096)


@pytest.mark.parametrize("series_sec", [float("inf"), float("nan")])
def test_a_series_has_to_end(series_sec: float) -> None:
    with pytest.raises(ValueError, match="--series-sec"):
        config(series_sec=series_sec)
