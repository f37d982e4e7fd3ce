"""What a search was asked for can be asked again of another network."""

from pathlib import Path
from typing import Any

import pytest

from tests.tuner.planning.plans import planned
from tuner.planning.asked_flags import asked_flags


@pytest.mark.parametrize(
    ("asked", "flags"),
    [
        ({}, ""),
        ({"model": "auto", "seed": 0, "finalists": 3}, ""),
        (
            {
                "model": "separable",
                "ranges": {"learning_rate": (1e-3, 1e-2)},
                "start": ("lr=2e-3",),
            },
            "",
        ),
        (
            {
                "images": 100,
                "samples": 7,
                "max_epochs": 1,
                "threshold": 0.9,
                "image_size": (40, 50),
            },
            "--images 100 --image-size 40 50 --samples 7 --max-epochs 1 --threshold 0.9",
        ),
        (
            {"pipeline": "median", "rank_by": "psnr", "scheduler": "none"},
            "--pipeline median --scheduler none --rank-by psnr",
        ),
        (
            {"loss": "tests.trainables.own_losses:absolute_error"},
            "--loss tests.trainables.own_losses:absolute_error",
        ),
    ],
)
def test_what_was_asked_beside_network_and_images_can_be_asked_again(
    few: str, tmp_path: Path, asked: dict[str, Any], flags: str
) -> None:
    assert asked_flags(planned(few, tmp_path, **asked), "auto") == flags.split()


def test_fewer_trials_than_auto_takes_are_not_asked_of_it(few: str, tmp_path: Path) -> None:
    plan = planned(few, tmp_path, samples=4)
    assert asked_flags(plan, "separable") == ["--samples", "4"]
    assert asked_flags(plan, "auto") == []
