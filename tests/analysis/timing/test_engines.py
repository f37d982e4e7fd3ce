from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from analysis.timing import engines
from analysis.timing.engines import ENGINES, EXPORTED, MATRICES, Runner, runner_of
from analysis.timing.subjects import PEERS, PIPELINE, Subject, catalogue
from tests.analysis.timing import own_subjects
from tests.trainables.affine_pipelines import map_of, sharpened, transposed
from tests.trainables.made_up import photographs
from tests.trainables.pipelines import peoples
from tests.trainables.pipelines.every import EVERY_BUT_STUDY
from trainables.data.examples import as_float
from trainables.errors import UsageError
from trainables.linear import examine
from trainables.metrics.cosine import cosine_similarity
from trainables.networks.registry import build as build_network
from trainables.networks.separable import Separable
from trainables.networks.weights import SavedNetwork, save_network
from trainables.pipelines.calling import BATCHES, Calls, make_targets
from trainables.pipelines.catalogue import PIPELINES, load
from trainables.pipelines.study import reference, without_flips
from trainables.tasks import Task

OWN = "tests.analysis.timing.own_subjects"
NOWHERE = Path("no-directory")


def build(subject: Subject) -> Runner:
    return runner_of(subject, {}, NOWHERE)


@pytest.fixture(scope="module")
def images() -> Tensor:
    return photographs(64).images


def subject(engine: str, precision: str = "float32", **settings: object) -> Subject:
    return Subject(
        name=engine, kind="x", engine=engine, device="cpu", precision=precision, **settings
    )


def network(
    engine: str, model: str = "separable", precision: str = "float32", **settings: object
) -> Subject:
    return subject(engine, precision, model=model, **settings)


@torch.inference_mode()
def computed(runner: Runner, images: Tensor, batch: int) -> Tensor:
    parts = [runner.end_to_end(runner.layout(part)) for part in images.split(batch)]
    assert all(part.dtype == torch.float32 for part in parts)
    return torch.cat(parts)


def difference(outputs: Tensor, expected: Tensor) -> float:
    assert outputs.shape == expected.shape
    return float((outputs - expected).abs().max())


@pytest.mark.parametrize(
    ("chosen", "batch", "bound"),
    [
        (subject("torchvision"), 64, 1e-6),
        (subject("torchvision"), 1, 1e-6),
        (subject("torchvision", "uint8"), 64, 0.01),
        (subject("torchvision", "uint8"), 1, 0.01),
        (subject("dense matrix"), 64, 1e-5),
        (subject("factors"), 64, 1e-5),
        (subject("Pillow", "uint8"), 1, 0.01),
    ],
    ids=lambda value: (
        f"{value.engine} {value.precision}" if isinstance(value, Subject) else str(value)
    ),
)
def test_a_form_of_the_pipeline_computes_the_pipeline(
    chosen: Subject, batch: int, bound: float, images: Tensor
) -> None:
    runner = build(chosen)
    outputs = computed(runner, images, batch)
    assert difference(outputs, reference(images)) <= bound
    assert runner.expected is None  # what the pipeline makes
    assert difference(outputs, without_flips(images)) > 0.3
    if chosen.precision == "uint8":  # it really rounds to bytes
        torch.testing.assert_close(outputs * 255, (outputs * 255).round(), rtol=0, atol=1e-4)


@pytest.mark.parametrize(("name", "batch"), [("OpenCV", 1), ("kornia-rs", 1), ("Kornia", 64)])
def test_a_peer_that_samples_otherwise_is_near_the_pipeline_but_not_the_same(
    name: str, batch: int, images: Tensor
) -> None:
    outputs = computed(build(subject(name)), images, batch)
    truths = reference(images)
    assert 1e-4 < difference(outputs, truths) < 0.5
    cosines = cosine_similarity(outputs, truths)
    assert cosines.median() > 0.99
    assert cosines.min() > 0.95


@pytest.mark.parametrize(
    "name", ["torchvision", "OpenCV", "Pillow", "kornia-rs", "Kornia", "dense matrix", "factors"]
)
@pytest.mark.parametrize(("row", "column"), [(2, 3), (2, 28), (29, 3)])
def test_a_bright_corner_lands_in_the_opposite_one(name: str, row: int, column: int) -> None:
    corner = torch.zeros(1, 3, 32, 32, dtype=torch.uint8)
    corner[..., row - 2 : row + 2, column - 2 : column + 2] = 255
    outputs = computed(build(subject(name)), corner, 1)[0, 0]
    top, left = 28 - row / 32 * 28, 28 - column / 32 * 28
    brightest = divmod(int(outputs.argmax()), 28)
    assert outputs.max() > 0.9
    assert abs(brightest[0] + 0.5 - top) <= 2
    assert abs(brightest[1] + 0.5 - left) <= 2


@pytest.mark.parametrize("colour", range(3))
@pytest.mark.parametrize(
    "name", ["torchvision", "OpenCV", "Pillow", "kornia-rs", "Kornia", "dense matrix", "factors"]
)
def test_each_colour_has_the_weight_that_it_has_in_the_pipeline(name: str, colour: int) -> None:
    one = torch.zeros(1, 3, 32, 32, dtype=torch.uint8)
    one[:, colour] = 255
    assert difference(computed(build(subject(name)), one, 1), reference(one)) < 0.005


def test_a_single_image_goes_through_torchvision_without_a_batch_dimension(images: Tensor) -> None:
    runner = build(subject("torchvision"))
    seen: list[tuple[int, ...]] = []
    one, many = runner.prepare(images[:1]), runner.prepare(images[:3])
    with SeenByResize(seen):
        runner.run(one)
        runner.run(many)
    assert seen == [(3, 32, 32), (3, 3, 32, 32)]


class SeenByResize:
    """Which shapes torchvision's first step gets."""

    def __init__(self, seen: list[tuple[int, ...]]) -> None:
        self.seen = seen

    def __enter__(self) -> None:
        from torchvision.transforms import v2

        def note(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            if isinstance(module, v2.Resize):
                self.seen.append(tuple(inputs[0].shape))

        self.handle = nn.modules.module.register_module_forward_pre_hook(note)

    def __exit__(self, *_: object) -> None:
        self.handle.remove()


def test_pillow_and_opencv_get_images_as_their_users_hold_them(images: Tensor) -> None:
    for name, run_on in (("OpenCV", np.ndarray), ("Pillow", Image.Image)):
        runner = build(subject(name))
        held = runner.layout(images[:1])
        assert isinstance(held, np.ndarray)
        assert held.shape == (32, 32, 3)
        assert held.flags.c_contiguous
        assert (held[5, 7] == images[0, :, 5, 7].numpy()).all()
        assert isinstance(runner.prepare(held), run_on)


def test_opencv_gets_as_many_threads_as_pytorch() -> None:
    cv2 = pytest.importorskip("cv2")
    before = torch.get_num_threads()
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            build(subject("OpenCV"))
            assert cv2.getNumThreads() == threads
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("model", ["fc", "cnn", "separable"])
def test_an_untrained_network_is_the_same_in_every_build_and_its_own_truth(
    model: str, images: Tensor
) -> None:
    runner = build(network("eager", model))
    torch.manual_seed(123)
    state = torch.get_rng_state()
    again = build(network("eager", model))
    assert torch.equal(torch.get_rng_state(), state)
    outputs = computed(runner, images, 16)
    assert difference(outputs, computed(again, images, 16)) == 0
    with torch.inference_mode():
        assert difference(outputs, runner.expected(images)) <= 1e-6
    assert runner.network is not None
    assert not runner.network.training


def test_a_trained_network_is_run_with_its_own_weights(tmp_path: Path, images: Tensor) -> None:
    trained = build_network("cnn", dropout=0.3).eval()
    path = tmp_path / "trial.safetensors"
    save_network(path, trained.state_dict(), SavedNetwork("cnn", {"dropout": 0.3}, {}))
    runner = build(network("eager", "cnn", weights=str(path)))
    with torch.inference_mode():
        expected = trained(as_float(images))
        assert difference(runner.expected(images), expected) <= 1e-6
    assert difference(computed(runner, images, 64), expected) <= 1e-6


@pytest.mark.parametrize("model", ["cnn", "separable"])
def test_onnx_runtime_computes_what_the_network_computes(
    model: str, images: Tensor, tmp_path: Path
) -> None:
    runner = runner_of(network("ONNX Runtime", model), {}, tmp_path)
    with torch.inference_mode():
        expected = build(network("eager", model)).expected(images)
        assert difference(runner.expected(images), expected) == 0
    assert difference(computed(runner, images, 32), expected) <= 1e-5
    assert not isinstance(runner.run, nn.Module)
    assert isinstance(runner.network, nn.Module)  # for its card


def test_a_subjects_next_process_takes_the_exported_network_as_it_lies_there(
    images: Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = network("ONNX Runtime")
    first = runner_of(asked, {}, tmp_path)
    monkeypatch.setattr(engines, "export", lambda *_: pytest.fail("it is there already"))
    again = runner_of(asked, {}, tmp_path)
    assert difference(computed(again, images, 32), computed(first, images, 32)) == 0


def test_a_compiled_network_computes_what_the_network_computes(images: Tensor) -> None:
    runner = build(network("torch.compile"))
    assert isinstance(runner.run, torch._dynamo.OptimizedModule)
    outputs = computed(runner, images, 64)
    with torch.inference_mode():
        assert difference(outputs, runner.expected(images)) <= 1e-5
        assert difference(outputs, build(network("eager")).expected(images)) <= 1e-5


@pytest.mark.parametrize("model", ["fc", "cnn"])
def test_bfloat16_is_near_float32_and_not_the_same(model: str, images: Tensor) -> None:
    runner = build(network("eager", model, precision="bfloat16"))
    outputs = computed(runner, images, 32)
    with torch.inference_mode():
        expected = runner.expected(images)
        assert difference(expected, build(network("eager", model)).expected(images)) == 0
        assert runner.run(runner.prepare(images[:2])).dtype == torch.bfloat16
    assert 0 < difference(outputs, expected) < 0.05
    assert runner.memory_format == "channels_last"
    assert runner.prepare(images).is_contiguous(memory_format=torch.channels_last)


def test_float32_is_laid_out_contiguously(images: Tensor) -> None:
    runner = build(network("eager", "cnn"))
    assert runner.memory_format == "contiguous"
    assert runner.prepare(images).is_contiguous()
    assert runner.run is runner.network  # nothing of ours is timed with it


def test_every_subject_of_the_catalogue_has_an_engine() -> None:
    subjects = catalogue(
        ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"], [], [f"{OWN}:right"]
    )
    assert {one.engine for one in subjects} == {*ENGINES, *EXPORTED, *MATRICES} - {"own pipeline"}
    assert set(PEERS) <= {one.engine for one in subjects}


@pytest.mark.parametrize("engine", ["dense matrix", "factors", "eager", "torch.compile"])
def test_what_has_weights_brings_its_network_for_the_card(engine: str) -> None:
    assert isinstance(build(network(engine)).network, nn.Module)


def test_the_factors_are_a_separable_network_of_1795_weights() -> None:
    runner = build(subject("factors"))
    assert isinstance(runner.network, Separable)
    assert sum(weights.numel() for weights in runner.network.parameters()) == 1795


def own(name: str) -> Subject:
    return Subject(name=name, kind="own", engine="own", device="cpu")


def test_a_function_of_your_own_gets_the_images_and_is_compared_with_the_pipeline(
    images: Tensor,
) -> None:
    runner = build(own(f"{OWN}:right"))
    assert torch.equal(computed(runner, images, 10), make_targets(reference, images))
    assert runner.expected is None  # what the pipeline makes
    assert runner.network is None


def test_a_function_of_a_file_is_found_by_its_path(images: Tensor) -> None:
    runner = build(own(f"{own_subjects.__file__}:right"))
    assert torch.equal(computed(runner, images, 10), make_targets(reference, images))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no_such_module:function", "can't be imported: .*No module named 'no_such_module'"),
        (f"{OWN}:no_such_function", "can't be imported: .* has no attribute 'no_such_function'"),
        (f"{OWN}:not_a_function", "is not a function of images"),
    ],
)
def test_a_function_that_is_not_there_is_said_with_its_flag(name: str, message: str) -> None:
    with pytest.raises(UsageError, match=f"^--subject '?{name}'? {message}"):
        build(own(name))


def test_a_persons_pipeline_is_called_as_they_call_it(images: Tensor) -> None:
    name = f"{peoples.__file__}:grey_mirrored"
    task = Task(pipeline=name, output_shape=(1, 32, 32), takes="pil", batched=False)
    runner = build(
        Subject(name=name, kind="pipeline", engine="own pipeline", device="cpu", task=task)
    )
    expected = Calls(peoples.grey_mirrored, "pil")(images[:3])
    assert torch.equal(computed(runner, images[:3], 1), expected)
    task = replace(task, pipeline=f"{peoples.__file__}:batches", takes="float", batched=True)
    runner = build(replace(own("x"), kind="pipeline", engine="own pipeline", task=task))
    expected = Calls(peoples.batches, "float", batched=True)(images)
    assert torch.equal(computed(runner, images, 10), expected)


@pytest.mark.parametrize("name", EVERY_BUT_STUDY)
def test_a_pipeline_of_the_gallery_is_called_with_what_the_catalogue_says(
    name: str, images: Tensor
) -> None:
    takes = PIPELINES[name].takes
    expected = Calls(load(name), takes)(images[:4])
    shape = tuple(expected.shape[1:])
    task = Task(pipeline=name, takes=takes, batched=takes in BATCHES, output_shape=shape)
    (timed,) = (one for one in catalogue(["cpu"], [], [], task) if one.kind == PIPELINE)
    assert (timed.name, timed.single) == (name, takes not in BATCHES)
    for batch in (1,) if timed.single else (1, 4):
        made = computed(build(timed), images[:4], batch)
        torch.testing.assert_close(made, expected, atol=1e-6, rtol=0)


def test_a_pipeline_that_takes_only_batches_gets_a_single_image_as_one(images: Tensor) -> None:
    name = f"{peoples.__file__}:only_batches"
    task = Task(pipeline=name, takes="float", output_shape=(3, 16, 16))
    runner = build(replace(own("x"), kind="pipeline", engine="own pipeline", task=task))
    one, many = (computed(runner, images[:5], batch) for batch in (1, 5))
    assert torch.equal(one, many)


def on_another_device(name: str, takes: str) -> Subject:
    """PyTorch's device without memory stands for a GPU."""
    task = Task(pipeline=f"{peoples.__file__}:{name}", takes=takes, batched=False)
    return Subject(
        name=name, kind="pipeline", engine="own pipeline", device="meta", single=True, task=task
    )


@pytest.mark.parametrize("takes", ["pil", "array", "dict"])
def test_what_is_called_with_no_tensor_is_refused_on_a_gpu(takes: str) -> None:
    with pytest.raises(UsageError, match=r"^it takes .*, which lies on no GPU$"):
        build(on_another_device("grey_mirrored", takes))


def test_a_pipeline_over_single_tensors_is_called_with_them_on_the_gpu(images: Tensor) -> None:
    runner = build(on_another_device("halved_tensor", "uint8"))
    made = runner.run(runner.prepare(images[:1]))
    assert (made.device.type, tuple(made.shape)) == ("meta", (3, 16, 16))


def test_what_brings_its_output_back_from_the_gpu_is_refused_there(images: Tensor) -> None:
    runner = build(on_another_device("to_the_cpu", "uint8"))
    with pytest.raises(UsageError, match=r"^its output is no tensor on the GPU"):
        runner.end_to_end(images[:1])


def of_rank_two(images: Tensor) -> Tensor:
    """Sharpened, and lighter towards the right: an offset that is not the same everywhere."""
    return sharpened(images) + torch.linspace(0, 1, images.shape[-1])


@pytest.mark.parametrize("engine", ["factors", "dense matrix"])
def test_a_pipeline_of_higher_rank_is_its_sum_of_products_and_its_offset(
    engine: str, images: Tensor
) -> None:
    shapes = {"input_shape": (3, 16, 16), "output_shape": (3, 16, 16)}
    known, affine = examine(of_rank_two, Task(pipeline="x", low=-4.0, high=6.0, **shapes))
    assert known.kronecker_rank == 2
    runner = runner_of(replace(subject(engine), task=known), affine.to_tensors(), NOWHERE)
    few = images[:, :, :16, :16]
    assert difference(computed(runner, few, 64), of_rank_two(few)) < 1e-4


def test_a_map_of_no_small_rank_has_no_factors() -> None:
    task = Task(
        pipeline="x",
        input_shape=(3, 8, 8),
        output_shape=(3, 8, 8),
        affine_residual=0.0,
    )
    affine = map_of(transposed, task).to_tensors()
    assert (
        runner_of(replace(subject("dense matrix"), task=task), affine, NOWHERE).network is not None
    )
    with pytest.raises(UsageError, match=r"^x is no sum of few Kronecker products$"):
        runner_of(replace(subject("factors"), task=task), affine, NOWHERE)
    with pytest.raises(UsageError, match=r"^x is affine, but its map was too costly to find$"):
        runner_of(replace(subject("dense matrix"), task=task), {}, NOWHERE)
