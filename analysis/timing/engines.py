"""How each subject is called: the runner that its engine builds.

A runner is built in the process that times it, since one subject's libraries may disturb another's.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from analysis.timing.subjects import COMPILED, Subject
from trainables import own_code
from trainables.data.examples import as_float
from trainables.errors import UsageError
from trainables.export import ENDINGS, export, load_exported
from trainables.linear import AffineMap
from trainables.networks.base import EndToEnd, as_input
from trainables.networks.registry import build, find
from trainables.networks.separable import Separable
from trainables.networks.weights import load_network
from trainables.pipelines import catalogue as pipelines
from trainables.pipelines.calling import BATCHES, GIVEN, as_image, in_floats
from trainables.pipelines.own import own_map
from trainables.pipelines.study import SIZE as STUDY_SIZE
from trainables.training.precision import Precision

SIZE = STUDY_SIZE[::-1]  # width first, as OpenCV and Pillow want it


def _as_it_is(images: Any) -> Any:
    return images


@dataclass(frozen=True, kw_only=True)
class Runner:
    """A subject that can be called.

    Images are (N, 3, H, W) uint8, results (N, c, h, w) float32.

    Attributes:
        run: What is timed alone: the subject's own input to its own output.
        prepare: From images in host memory to the subject's own input, on its device.
        finish: From the subject's own output to the result.
        layout: Images as the subject's users hold them in host memory; never timed.
        expected: What it should compute, in float32 on the CPU; None for what the pipeline does.
    """

    run: Callable[[Any], Any]
    prepare: Callable[[Any], Any] = _as_it_is
    finish: Callable[[Any], Tensor] = _as_it_is
    layout: Callable[[Tensor], Any] = _as_it_is
    expected: Callable[[Tensor], Tensor] | None = None
    network: nn.Module | None = None
    memory_format: str = "contiguous"

    @property
    def takes_tensors(self) -> bool:
        """Say whether its users hold images as one tensor, which may lie on the device already."""
        return self.layout is _as_it_is

    def end_to_end(self, images: Any) -> Tensor:
        """Host memory to result."""
        return self.finish(self.run(self.prepare(images)))


def _torchvision(subject: Subject) -> Runner:
    from torchvision.transforms import v2

    pipeline = v2.Compose(
        [
            v2.Resize(STUDY_SIZE),
            v2.Grayscale(),
            v2.RandomHorizontalFlip(1.0),
            v2.RandomVerticalFlip(1.0),
        ]
    )
    device = torch.device(subject.device)

    def run(images: Tensor) -> Any:
        # One image goes through without a batch dimension, as in a data set's __getitem__
        return pipeline(images[0])[None] if len(images) == 1 else pipeline(images)

    if subject.precision == "uint8":
        return Runner(prepare=lambda images: images.to(device), run=run, finish=as_float)
    return Runner(prepare=lambda images: as_float(images.to(device)), run=run)


def _own_pipeline(subject: Subject) -> Runner:
    """The person's own callable, as they call it: image by image, or in batches.

    Raises UsageError for a GPU where it takes something that no GPU holds.
    """
    task, device = subject.task, torch.device(subject.device)
    takes_tensors = task.takes in BATCHES
    if device.type != "cpu" and not takes_tensors:
        raise UsageError(f"it takes {pipelines.WORDS[task.takes]}, which lies on no GPU")
    pipeline = pipelines.load(task.pipeline)
    if isinstance(pipeline, nn.Module):
        pipeline = pipeline.to(device)
    given = GIVEN[task.takes]

    def on_tensors(images: Tensor) -> Any:
        return pipeline(images if task.batched else images[0])

    def on_image(image: Any) -> Any:
        return pipeline(image=image) if task.takes == "dict" else pipeline(image)

    def result(made: Any) -> Tensor:
        if device.type != "cpu" and not (isinstance(made, Tensor) and made.device.type != "cpu"):
            raise UsageError("its output is no tensor on the GPU, so it does not run there")
        are_many = isinstance(made, Tensor) and made.ndim == 4 and len(made) > 1
        return in_floats(made) if are_many else as_image(made)[None]

    if takes_tensors:
        return Runner(
            prepare=lambda images: given(images.to(device)), run=on_tensors, finish=result
        )
    return Runner(prepare=lambda images: given(images[0]), run=on_image, finish=result)


def _dense_matrix(subject: Subject, affine: AffineMap) -> Runner:
    device, task = torch.device(subject.device), subject.task
    product = nn.Linear(task.input_size, task.output_size, bias=task.offset)
    product.weight = nn.Parameter(affine.matrix())
    if task.offset:
        product.bias = nn.Parameter(affine.offset.flatten())
    network = nn.Sequential(nn.Flatten(), product, nn.Unflatten(1, task.output_shape))
    return _float_input(network.to(device).eval(), device)


class _Products(nn.Module):
    """An affine pipeline as the sum of Kronecker products that it is, and its offset."""

    def __init__(self, products: list[Separable], offset: Tensor) -> None:
        super().__init__()
        self.products = nn.ModuleList(products)
        self.offset = nn.Parameter(offset)

    def forward(self, images: Tensor) -> Any:
        first, *others = self.products
        outputs = first(images)
        for product in others:
            outputs = outputs + product(images)
        return outputs + self.offset


def _factors(subject: Subject, affine: AffineMap) -> Runner:
    device, task = torch.device(subject.device), subject.task
    if not affine.terms:
        raise UsageError(f"{task.pipeline} is no sum of few Kronecker products")
    plain = replace(task, offset=False)
    products = [Separable.from_map(replace(affine, terms=(one,)), plain) for one in affine.terms]
    is_plain = len(products) == 1 and not task.offset
    network = products[0] if is_plain else _Products(products, affine.offset)
    return _float_input(network.to(device).eval(), device)


def _float_input(network: nn.Module, device: torch.device, **more: Any) -> Runner:
    return Runner(
        prepare=lambda images: as_input(images.to(device)), run=network, network=network, **more
    )


def _network(subject: Subject) -> nn.Module:
    """The network in eval mode on the CPU; untrained weights are the same in every process."""
    model = str(subject.model)
    if subject.weights:
        return load_network(subject.weights, find(model))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build(model, subject.task).eval()


def _eager(subject: Subject) -> Runner:
    device, precision = torch.device(subject.device), Precision(subject.precision, "")
    memory_format = precision.memory_format
    network = _network(subject).to(device).to(memory_format=memory_format)

    def run(images: Tensor) -> Any:
        with precision.autocast(device):
            return network(images)

    return Runner(
        prepare=lambda images: as_input(images.to(device), memory_format),
        run=run if precision.name == "bfloat16" else network,
        finish=lambda outputs: outputs.float(),
        expected=EndToEnd(_network(subject)),
        network=network,
        memory_format="channels_last" if memory_format == torch.channels_last else "contiguous",
    )


def _compiled(subject: Subject) -> Runner:
    """Compiled together with the conversion from uint8, once per batch size."""
    device = torch.device(subject.device)
    network = _network(subject).to(device)
    # One a batch size; beyond the limit it runs eagerly without a word
    torch._dynamo.config.recompile_limit = 100
    return Runner(
        prepare=lambda images: images.to(device),
        run=torch.compile(EndToEnd(network), dynamic=False),
        expected=EndToEnd(_network(subject)),
        network=network,
    )


def _onnx_runtime(subject: Subject, directory: Path) -> Runner:
    network = _network(subject)
    path = directory / f"{subject.name}{ENDINGS['onnx']}"
    if not path.exists():  # the subject's first process makes it
        export(network, subject.task, "onnx", path)
    return Runner(run=load_exported(path), expected=EndToEnd(_network(subject)), network=network)


def _own(subject: Subject) -> Runner:
    """Import a function of a person's own, by the name that `own_code.load` takes.

    It takes (N, 3, H, W) uint8 on the device and returns (N, c, h, w) float32.
    """
    try:
        function = own_code.load(subject.name)
    except UsageError as mistake:
        raise UsageError(f"--subject {mistake}") from mistake
    if not callable(function):
        raise UsageError(f"--subject {subject.name} is not a function of images")
    device = torch.device(subject.device)
    return Runner(prepare=lambda images: images.to(device), run=function)


def _rows_of_pixels(images: Tensor) -> Any:
    """(1, 3, H, W) → array (H, W, 3), the layout of these libraries."""
    return images[0].permute(1, 2, 0).contiguous().numpy()


def _grey_bytes(pixels: np.ndarray) -> Tensor:
    return as_float(torch.from_numpy(pixels))[None, None]


# The peers (the extra `peers`): none computes exactly the same. OpenCV and Kornia sample
# differently, Pillow rounds to bytes. How far each is from the reference is measured before it is
# timed.


def _opencv(_: Subject) -> Runner:
    import cv2

    cv2.setNumThreads(torch.get_num_threads())

    def run(pixels: np.ndarray) -> np.ndarray:
        # The method that is nearest to an antialiased resize
        small = cv2.resize(pixels, SIZE, interpolation=cv2.INTER_AREA)
        flipped: np.ndarray = cv2.flip(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), -1)
        return flipped

    return Runner(layout=_rows_of_pixels, run=run, finish=_grey_bytes)


def _pillow(_: Subject) -> Runner:
    from PIL import Image, ImageOps

    def run(image: Image.Image) -> Image.Image:
        small = image.resize(SIZE, Image.Resampling.BILINEAR)
        return ImageOps.flip(ImageOps.mirror(small.convert("L")))

    return Runner(
        layout=_rows_of_pixels,
        prepare=Image.fromarray,
        run=run,
        finish=lambda image: _grey_bytes(np.array(image)),
    )


def _kornia_rs(_: Subject) -> Runner:
    from kornia_rs.image import Image

    width, height = SIZE

    def run(image: Image) -> Image:
        small = image.resize(width, height, "bilinear").to_gray()
        return small.flip_horizontal().flip_vertical()

    return Runner(
        layout=_rows_of_pixels,
        prepare=Image.fromarray,
        run=run,
        finish=lambda image: _grey_bytes(image.numpy()[..., 0]),
    )


def _kornia(subject: Subject) -> Runner:
    from kornia.color import rgb_to_grayscale
    from kornia.geometry.transform import hflip, resize, vflip

    device = torch.device(subject.device)

    def run(images: Tensor) -> Any:
        small = resize(
            images, STUDY_SIZE, interpolation="bilinear", align_corners=False, antialias=True
        )
        return vflip(hflip(rgb_to_grayscale(small)))

    return Runner(prepare=lambda images: as_float(images.to(device)), run=run)


# Each builds the runner of a subject, and raises UsageError when it can't
MATRICES: dict[str, Callable[[Subject, AffineMap], Runner]] = {
    "dense matrix": _dense_matrix,
    "factors": _factors,
}
EXPORTED: dict[str, Callable[[Subject, Path], Runner]] = {"ONNX Runtime": _onnx_runtime}
ENGINES: dict[str, Callable[[Subject], Runner]] = {
    "torchvision": _torchvision,
    "own pipeline": _own_pipeline,
    "eager": _eager,
    COMPILED: _compiled,
    "OpenCV": _opencv,
    "Pillow": _pillow,
    "Kornia": _kornia,
    "kornia-rs": _kornia_rs,
    "own": _own,
}


def runner_of(subject: Subject, affine: Mapping[str, Tensor], directory: Path) -> Runner:
    """Return what calls a subject.

    Args:
        subject: Whose engine is a key of `MATRICES`, `EXPORTED` or `ENGINES`.
        affine: The map of a person's own pipeline, as `Splits.affine` has it.
        directory: Where files of the subject are kept for its next process.

    Raises:
        UsageError: It can't be built.
    """
    if subject.engine in EXPORTED:
        return EXPORTED[subject.engine](subject, directory)
    if subject.engine not in MATRICES:
        return ENGINES[subject.engine](subject)
    found = own_map(subject.task, affine)
    if found is None:
        raise UsageError(f"{subject.task.pipeline} is affine, but its map was too costly to find")
    return MATRICES[subject.engine](subject, found)
