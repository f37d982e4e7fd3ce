import numpy as np
import pytest
import torch
from torch import Tensor

from tests.trainables.pipelines import peoples
from trainables.errors import UsageError
from trainables.pipelines import probing
from trainables.pipelines.calling import Calls
from trainables.pipelines.probing import Probed, probe, without
from trainables.tasks import Task


@pytest.fixture(scope="module")
def images() -> Tensor:
    """Twelve of noise; the seventh alone begins with 77."""
    generator = torch.Generator().manual_seed(0)
    made = torch.randint(0, 256, (12, 3, 8, 10), generator=generator, dtype=torch.uint8)
    made[:, 0, 0, 0] = torch.arange(12, dtype=torch.uint8)
    made[6, 0, 0, 0] = 77
    return made


def found(name: str, images: Tensor, takes: str | None = None) -> Task:
    return probe(name, getattr(peoples, name), images, takes).task


def refusal(name: str, images: Tensor) -> str:
    with pytest.raises(UsageError) as error:
        found(name, images)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("name", "takes", "batched", "shape"),
    [
        ("grey_mirrored", "pil", False, (1, 8, 10)),
        ("normalised", "pil", False, (3, 4, 5)),
        ("batches", "float", True, (3, 4, 5)),
        ("only_batches", "float", True, (3, 4, 5)),
        ("named", "dict", False, (3, 4, 10)),
        ("halved_tensor", "uint8", False, (3, 4, 5)),
        ("doubled_floats", "float", False, (3, 16, 20)),
        ("rows_array", "array", False, (1, 8, 10)),
        ("mean_colour", "uint8", False, (3, 1, 1)),
        ("sixteen_bits", "pil", False, (1, 8, 10)),
        ("returns_its_input", "pil", False, (3, 8, 10)),
        ("writes", "uint8", False, (1, 8, 10)),
    ],
)
def test_what_a_pipeline_takes_and_gives_is_found_by_calling_it(
    images: Tensor, name: str, takes: str, batched: bool, shape: tuple[int, int, int]
) -> None:
    before = images.clone()
    task = found(name, images)
    assert (task.takes, task.batched, task.output_shape) == (takes, batched, shape)
    assert (task.pipeline, task.input_shape) == (name, (3, 8, 10))
    assert torch.equal(images, before)  # it gets copies


def test_outputs_are_as_the_pipeline_means_them(images: Tensor) -> None:
    floats = images.float() / 255
    torch.testing.assert_close(Calls(peoples.returns_its_input, "pil")(images), floats)
    torch.testing.assert_close(Calls(peoples.named, "dict")(images), 1 - floats[:, :, ::2])
    torch.testing.assert_close(Calls(peoples.rows_array, "array")(images), floats[:, :1].flip(2))
    grey = Calls(peoples.Grey(), "pil")(images)
    torch.testing.assert_close(Calls(peoples.sixteen_bits, "pil")(images), grey)
    torch.testing.assert_close(Calls(peoples.grey_mirrored, "pil")(images), grey.flip(3))
    torch.testing.assert_close(
        Calls(peoples.batches, "float", batched=True)(images),
        torch.nn.functional.avg_pool2d(floats, 2),
    )


def test_a_pipeline_that_takes_only_batches_is_given_a_set_of_one_image_too(images: Tensor) -> None:
    task = found("only_batches", images[:1])
    assert (task.takes, task.batched) == ("float", True)


def test_what_it_is_called_with_can_be_said(images: Tensor) -> None:
    assert found("returns_its_input", images, "array").takes == "array"
    with pytest.raises(UsageError, match="it raises TypeError: floats only on training image 0"):
        found("doubled_floats", images, "uint8")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("random_second_step", "its step 2, MirrorNowAndThen, is random: it gives another result"),
        ("counts", "it gives another result when it is called again with the same image"),
        ("raises_on_the_seventh", "it raises RuntimeError: no such thing on training image 6"),
        ("changes_shape", "its output is 3 × 16 × 17 for training image 6 and 3 × 16 × 16 for"),
        ("nan_on_one", "it gives NaN or infinite numbers for training image 6"),
        ("needs_a_gpu", "it raises "),
        ("brightest_of_the_batch", "what it makes of an image depends on those beside it"),
        ("a_batch", "it gives 2 images for one"),
        ("a_list", "it gives a list, which is no image"),
        ("a_string", "it gives a str, which is no image"),
        ("some_bytes", "it gives a bytes, which is no image"),
        ("nothing", "it gives a NoneType, which is no image"),
        ("a_number", "it gives a single number"),
        ("complex_numbers", "it gives torch.complex64 numbers"),
        ("no_function", "it is a int, which can't be called"),
        ("Grey", "it is a class: name an object of it"),
    ],
)
def test_what_no_network_can_be_trained_for_is_refused_in_one_sentence(
    images: Tensor, name: str, told: str
) -> None:
    assert refusal(name, images).startswith(told)


def test_the_pipeline_without_each_of_its_steps_is_there_by_the_steps_name(images: Tensor) -> None:
    shorter = dict(without(peoples.grey_mirrored))
    assert list(shorter) == ["Grey", "Mirror"]
    grey = Calls(shorter["Mirror"], "pil")(images)
    torch.testing.assert_close(grey, Calls(peoples.Grey(), "pil")(images))
    twice = peoples.Compose(peoples.Mirror(), peoples.Mirror(), peoples.Grey())
    assert [name for name, _ in without(twice)] == ["Mirror 1", "Mirror 2", "Grey"]
    assert list(without(peoples.Compose(peoples.Grey()))) == []
    assert list(without(peoples.halved_tensor)) == []


def test_a_slow_pipeline_is_asked_about_fewer_images(
    images: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(np.arange(0, 1e6, 0.7))
    monkeypatch.setattr(probing.time, "perf_counter", lambda: next(clock))
    asked: Probed = probe("it", peoples.returns_its_input, images)
    assert (asked.tried, asked.call_sec) == (8, pytest.approx(0.7))
    clock = iter(np.arange(0, 1e6, 10.0))
    asked = probe("it", peoples.returns_its_input, images)
    assert (asked.tried, asked.call_sec) == (2, pytest.approx(10))
