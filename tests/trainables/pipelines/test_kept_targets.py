"""Targets in the cache: every bit of them comes back, in the smallest form that has it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.trainables.data.test_cache import file_size_limit
from trainables.data.cache import CACHE_VARIABLE
from trainables.data.examples import as_float
from trainables.pipelines.kept_targets import Kept, keep, place, recall
from trainables.tasks import Task

TASK = Task(pipeline="mine:blur", takes="pil", batched=False)
KEPT = Kept(b"probes", 1.5)
LEVELS = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16).repeat(1100, 1, 1, 1)


def noise(generator: torch.Generator) -> Tensor:
    return torch.rand(1100, 1, 16, 16, generator=generator)


def with_one_other(value: float) -> Tensor:
    targets = as_float(LEVELS)
    targets[1050, 0, 3, 3] = value
    return targets


@pytest.mark.parametrize(
    ("targets", "kind"),
    [
        (as_float(LEVELS), np.uint8),
        (LEVELS / 255, np.uint8),  # as ToTensor has it: other last bits than as_float
        (LEVELS.float() - 100, np.float16),
        (with_one_other(0.3), np.float32),
        (with_one_other(-0.0), np.float32),
        (with_one_other(float("nan")), np.float32),
        (with_one_other(2.0), np.float32),
        (noise(torch.Generator().manual_seed(0)), np.float32),
    ],
    ids=["bytes", "divided", "whole", "one", "negative zero", "nan", "two", "noise"],
)
def test_every_bit_comes_back_from_the_smallest_form_that_has_it(
    tmp_path: Path, targets: Tensor, kind: type
) -> None:
    file = tmp_path / "kept" / "targets.npz"
    keep(file, targets, KEPT)
    filled = torch.zeros_like(targets)
    assert recall(file, filled) == KEPT
    assert torch.equal(filled.view(torch.int32), targets.view(torch.int32))
    assert np.load(file)["targets"].dtype == kind


def test_its_place_is_its_own_for_every_pipeline_call_step_and_set_of_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    images = torch.zeros(4, 3, 2, 2, dtype=torch.uint8)
    other = images.clone()
    other[3, 2, 1, 1] = 1
    places = [
        place(TASK, "", images),
        place(TASK, "Blur", images),
        place(TASK, "", other),
        place(TASK, "", images.view(4, 3, 4, 1)),
        place(Task(pipeline="mine:blur", takes="array", batched=False), "", images),
        place(Task(pipeline="mine:grey", takes="pil", batched=False), "", images),
    ]
    assert len(set(places)) == len(places)
    assert {one.parent for one in places} == {tmp_path / "cache" / "targets"}
    assert place(TASK, "", images.clone()) == places[0]


def test_a_file_of_one_name_in_two_directories_is_two_pipelines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = torch.zeros(4, 3, 2, 2, dtype=torch.uint8)
    task = Task(pipeline="mine.py:blur", takes="pil", batched=False)
    monkeypatch.chdir(tmp_path)
    here = place(task, "", images)
    whole_path = Task(pipeline=f"{tmp_path}/mine.py:blur", takes="pil", batched=False)
    assert place(whole_path, "", images) == here
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert place(task, "", images) != here


def torn(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-30])


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def of_another_kind(path: Path) -> None:
    np.savez(path, targets=np.zeros(3))


@pytest.mark.parametrize(
    "damage", [torn, flipped, of_another_kind, Path.unlink, lambda path: path.write_bytes(b"")]
)
def test_what_is_not_whole_counts_as_not_there(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    file = tmp_path / "targets.npz"
    keep(file, as_float(LEVELS), KEPT)
    damage(file)
    assert recall(file, torch.zeros(1100, 1, 16, 16)) is None


def test_targets_of_another_shape_are_another_pipelines(tmp_path: Path) -> None:
    file = tmp_path / "targets.npz"
    keep(file, as_float(LEVELS), KEPT)
    filled = torch.zeros(1100, 1, 8, 32)
    kept = recall(file, filled)
    assert kept is not None
    assert kept.probes != KEPT.probes
    assert not filled.any()


def test_a_cache_that_is_full_or_cannot_be_written_is_no_reason_to_stop(tmp_path: Path) -> None:
    with file_size_limit(1000):
        keep(tmp_path / "targets.npz", as_float(LEVELS), KEPT)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").touch()
    keep(tmp_path / "file" / "targets.npz", as_float(LEVELS), KEPT)
    assert recall(tmp_path / "file" / "targets.npz", torch.zeros(1100, 1, 16, 16)) is None
