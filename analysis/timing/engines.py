"""How each subject is called: the runner that its engine builds.

A runner is built in the process that times it, since one subject's libraries may disturb another's.
"""

import importlib
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from analysis.timing.subjects import Subject
from trainables.data.examples import as_float
from trainables.errors import UsageError
from trainables.export import ENDINGS, export, load_exported
from trainables.linear import AffineMap, examine
from trainables.networks.base import EndToEnd, as_input
from trainables.networks.registry import build, find
from trainables.networks.separable import Separable
from trainables.networks.weights import load_network
from trainables.pipelines import catalogue as pipelines
from trainables.pipelines.calling import GIVEN, Calls, as_image, in_floats
from trainables.pipelines.study import SIZE as STUDY_SIZE
from trainables.tasks import Task
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
    """The person's own callable, as they call it: image by image, or in batches."""
    task, device = subject.task, torch.device(subject.device)
    pipeline = pipelines.load(task.pipeline)
    given = GIVEN[task.takes]
    if task.batched:
        if isinstance(pipeline, nn.Module):
            pipeline = pipeline.to(device)
        return Runner(
            prepare=lambda images: given(images.to(device)), run=pipeline, finish=in_floats
        )

    def run(image: Any) -> Any:
        return pipeline(image=image) if task.takes == "dict" else pipeline(image)

    return Runner(
        prepare=lambda images: given(images[0]),
        run=run,
        finish=lambda made: as_image(made)[None],
    )


def _map(task: Task) -> AffineMap:
    """Return the pipeline as the map that it is. Raises UsageError where it is not affine."""
    pipeline = pipelines.load(task.pipeline)
    if task.pipeline not in pipelines.PIPELINES:
        pipeline = Calls(pipeline, task.takes, batched=task.batched)
    _, affine = examine(pipeline, task)
    if affine is None:
        raise UsageError(f"{task.pipeline} is not affine, so it has no matrix that could be timed")
    return affine


def _dense_matrix(subject: Subject) -> Runner:
    device, task = torch.device(subject.device), subject.task
    affine = _map(task)
    product = nn.Linear(task.input_size, task.output_size, bias=task.offset)
    product.weight = nn.Parameter(affine.matrix())
    if task.offset:
        product.bias = nn.Parameter(affine.offset.flatten())
    network = nn.Sequential(nn.Flatten(), product, nn.Unflatten(1, task.output_shape))
    return _float_input(network.to(device).eval(), device)


def _factors(subject: Subject) -> Runner:
    device = torch.device(subject.device)
    network = Separable.from_map(_map(subject.task), subject.task)
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


def _onnx_runtime(subject: Subject) -> Runner:
    network = _network(subject)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / f"network{ENDINGS['onnx']}"
        export(network, subject.task, "onnx", path)
        return Runner(
            run=load_exported(path), expected=EndToEnd(_network(subject)), network=network
        )


def _own(subject: Subject) -> Runner:
    """Import `package.module:function`.

    It takes (N, 3, H, W) uint8 on the device and returns (N, c, h, w) float32.
    """
    module, _, name = subject.name.partition(":")
    try:
        function = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise UsageError(f"--subject {subject.name} can't be imported: {error}") from error
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
ENGINES: dict[str, Callable[[Subject], Runner]] = {
    "torchvision": _torchvision,
    "own pipeline": _own_pipeline,
    "dense matrix": _dense_matrix,
    "factors": _factors,
    "eager": _eager,
    "torch.compile": _compiled,
    "ONNX Runtime": _onnx_runtime,
    "OpenCV": _opencv,
    "Pillow": _pillow,
    "Kornia": _kornia,
    "own": _own,
}
