"""A person's pipeline in processes of its own: what comes of it, also where it misbehaves."""

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.trainables.pipelines import peoples
from tests.waiting import until
from trainables.data.cache import CACHE_VARIABLE
from trainables.errors import UsageError
from trainables.own_process import OwnProcess
from trainables.pipelines import making, own, process, study
from trainables.pipelines.calling import Calls
from trainables.pipelines.identity import is_same, kept, probe_images
from trainables.pipelines.making import WHOLE, fill
from trainables.pipelines.own import in_own_process, of_study, own_map
from trainables.tasks import STUDY, Task

FILE = Path(peoples.__file__)
COUNTS = {"train": 20, "validation": 4, "test": 8}


@pytest.fixture(scope="module")
def images() -> Mapping[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        split: torch.randint(0, 255, (count, 3, 8, 10), generator=generator, dtype=torch.uint8)
        for split, count in COUNTS.items()
    }


def name(function: str) -> str:
    return f"{FILE}:{function}"


def test_targets_range_and_steps_of_a_pipeline_that_normalises(
    images: Mapping[str, Tensor], capfd: pytest.CaptureFixture[str]
) -> None:
    with OwnProcess("trainables.pipelines.process") as asked:
        made = in_own_process(asked, name("normalised"), images)
    task, call = made.task, Calls(peoples.normalised, "pil")
    assert (task.output_shape, task.steps) == ((3, 4, 5), ("Half", "Normalised"))
    for split, part in images.items():
        assert torch.equal(made.targets[split], call(part))
    assert (task.low, task.high) == (
        float(made.targets["train"].min()),
        float(made.targets["train"].max()),
    )
    assert (task.low < -0.5, task.offset) == (True, True)
    assert task.affine_residual is not None
    assert task.affine_residual < 0.01
    assert list(made.without) == ["Normalised"]  # without Half the shape is another
    assert task.kronecker_rank == 1
    own = own_map(task, made.affine)
    assert own is not None
    assert own.rank == 1
    difference = (own(images["test"]) - made.targets["test"]).abs().max()
    assert float(difference) <= 2 * task.affine_residual * task.span
    assert is_same(made.probes, kept(call(probe_images((3, 8, 10)))), task.span)
    assert capfd.readouterr() == ("", "")


def test_what_a_pipeline_prints_goes_nowhere_and_every_core_makes_targets(
    images: Mapping[str, Tensor],
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    code = (
        "from trainables.pipelines import making, process\n"
        "from trainables import own_process\n"
        "making.ALONE_SEC, making.CHUNK_SEC = 0, 1e-9\n"
        "if __name__ == '__main__':\n"
        "    own_process.serve(process.work, 'pipeline')\n"
    )
    (tmp_path / "in_parts.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    with OwnProcess("in_parts") as in_parts:
        made = in_own_process(in_parts, name("prints"), images)
    assert torch.equal(
        made.targets["train"], Calls(peoples.returns_its_input, "pil")(images["train"])
    )
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("function", "told"),
    [
        ("ends_its_process", "its import and its calls ended its process with exit status 7"),
        ("leaves", "can't be used: SystemExit: 3"),
        ("nobody", "can't be imported: AttributeError"),
        ("a_list", "it gives a list, which is no image"),
    ],
)
def test_one_that_misbehaves_is_told_in_one_sentence(
    images: Mapping[str, Tensor], function: str, told: str
) -> None:
    with OwnProcess("trainables.pipelines.process") as asked, pytest.raises(UsageError) as error:
        in_own_process(asked, name(function), images)
    sentence = str(error.value)
    assert sentence.startswith("--pipeline ")
    assert told in sentence
    assert "\n" not in sentence


@pytest.mark.parametrize("function", ["ends_its_process", "a_list"])
def test_workers_end_with_the_process_however_it_ends(
    images: Mapping[str, Tensor], function: str
) -> None:
    with OwnProcess("trainables.pipelines.process") as asked:
        group = asked._process.pid
        with pytest.raises(UsageError):
            in_own_process(asked, name(function), images)

    def is_empty() -> bool:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        return False

    until(is_empty)


def test_one_that_raises_for_a_later_image_is_told_by_split_and_number(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    part = torch.randint(0, 77, (70, 3, 8, 8), generator=generator, dtype=torch.uint8)
    part[68, 0, 0, 0] = 77
    task = Task(
        pipeline=name("raises_on_the_seventh"), takes="pil", batched=False, output_shape=(3, 8, 8)
    )
    np.save(tmp_path / "train.npy", part.numpy())
    np.lib.format.open_memmap(tmp_path / "train.targets.npy", "w+", np.float32, (70, 3, 8, 8))
    with pytest.raises(UsageError, match=r"no such thing \(train image 68\)"):
        fill((task, tmp_path), ("train", WHOLE, 0, 70))


def test_targets_that_would_take_hours_are_refused_with_what_fits() -> None:
    told = (
        "it takes 10 s an image, so the targets of 13,000 images would take 18 hours on 2 cores, "
        "and at most 1,440 are made in 2: give a directory with fewer images"
    )
    with pytest.raises(UsageError) as error:
        making._check_time(10, 13_000, 1441, 2)
    assert str(error.value) == told
    with pytest.raises(UsageError) as error:
        making._check_time(10, 13_000, 1440, 2)
    assert str(error.value) == f"{told}, or fewer training images by a search's --images"
    making._check_time(1, 13_000, 1441, 2)


def test_the_study_is_a_task_whose_shapes_and_range_are_known(images: Mapping[str, Tensor]) -> None:
    at_32 = {split: torch.zeros(2, 3, 32, 32, dtype=torch.uint8) for split in COUNTS}
    assert of_study(at_32).task == STUDY
    made = of_study(images)
    assert (made.task.input_shape, made.task.output_shape) == ((3, 8, 10), (1, 28, 28))
    assert made.task.is_unit
    assert made.task.affine_residual == pytest.approx(0, abs=1e-6)


def test_the_study_has_its_flips_left_out_and_its_map_is_found_where_it_is_asked_for() -> None:
    splits = {split: torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8) for split in COUNTS}
    made = of_study(splits)
    assert torch.equal(made.without["flips"], made.targets["test"].flip(-1, -2))
    own = own_map(STUDY, made.affine)
    assert own is not None
    torch.testing.assert_close(own(splits["test"]), made.targets["test"], atol=2e-6, rtol=0)


def test_targets_of_the_study_are_made_once_for_the_same_images(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    images = torch.randint(0, 256, (5, 3, 32, 32), dtype=torch.uint8)
    splits = {split: images[start:] for start, split in enumerate(COUNTS)}
    made = of_study(splits)
    monkeypatch.setattr(own, "make_targets", None)  # to call it would raise
    again = of_study(splits)
    for split, targets in made.targets.items():
        assert torch.equal(again.targets[split], targets)
        assert torch.equal(targets, study.reference(splits[split]))
    assert torch.equal(again.without["flips"], made.without["flips"])
    with pytest.raises(TypeError):
        of_study({split: part.flip(-1) for split, part in splits.items()})


@pytest.mark.parametrize(("call_sec", "count"), [(0.001, 3), (3.0, 14), (100.0, 40)])
def test_a_slow_pipeline_is_heard_while_its_map_is_looked_for(
    monkeypatch: pytest.MonkeyPatch, call_sec: float, count: int
) -> None:
    monkeypatch.setattr(process, "TOLD_AFTER_SEC", 0)
    said: list[str] = []
    call = process._Heard(Calls(peoples.returns_its_input, "pil"), said.append, call_sec)
    images = torch.arange(40, dtype=torch.uint8).reshape(40, 1, 1, 1).repeat(1, 3, 2, 2)
    torch.testing.assert_close(call(images), images / 255)
    assert len(said) == count
