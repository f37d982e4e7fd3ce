"""How much CUDA memory a trial's training takes, known before it starts and without a GPU.

A step of training and a batch of validation go through the network on the meta device, where tensors have sizes but
no numbers. Not in it is what a GPU's libraries and allocator add: the workspaces of cuBLAS (32 MiB a stream on Hopper,
8 elsewhere, by default) and cuDNN, and what lies unused between tensors.
"""

from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, replace
from math import ceil, prod

import torch
from torch import Tensor, nn

from trainables.data.examples import Examples
from trainables.losses.perceptual import PerceptualLoss, squared_error
from trainables.losses.vgg16 import CONVOLUTIONS, NORMALISATIONS, Vgg16
from trainables.metrics import cosine_similarity
from trainables.networks.registry import build, find
from trainables.pipelines.study import IMAGE_SHAPE, TARGET_SHAPE
from trainables.training.alive import Alive, AsOnGpu, peak_bytes
from trainables.training.gradients import Gradients, Loss
from trainables.training.loop import VALIDATION_BATCH, TrainingConfig
from trainables.training.precision import Precision

META = torch.device("meta")
CONTEXT_BYTES = 2**29
"""A process's CUDA context with its libraries, which comes on top and no cap covers: an estimate, not measured."""
EXAMPLE_BYTES = prod(IMAGE_SHAPE) + 4 * prod(TARGET_SHAPE)  # uint8 and float32


@dataclass(frozen=True)
class Footprint:
    """Bytes that one worker of a trial holds on its GPU."""

    images_bytes: int
    """All training and validation images with their targets, whatever the number of workers."""
    network_bytes: int
    """Weights, Adam's two moments, and the best weights so far."""
    step_bytes: int
    """The most beside those at any moment of a training step: its batch, activations, gradients."""
    validation_bytes: int
    """The same for a batch of validation."""
    remainder_bytes: int = 0
    """A step's, for an epoch's last and smaller batch. Where whole ones are replayed as a CUDA graph, which keeps its
    memory to itself, that batch and validation have theirs beside it; else 0."""
    graph: bool = False
    """Whether they are."""
    vgg_bytes: int = 0
    """VGG16's weights, where the loss is perceptual."""
    pass_bytes: int = 0
    """What a pass through VGG16 adds to the larger of the two; passes are halved when memory runs out."""

    @property
    def least_bytes(self) -> int:
        """Without which there is no training."""
        held = self.images_bytes + self.network_bytes + self.vgg_bytes
        if self.graph:
            return held + self.step_bytes + max(self.validation_bytes, self.remainder_bytes)
        return held + max(self.step_bytes, self.validation_bytes)

    @property
    def total_bytes(self) -> int:
        """What training takes where it can; without the CUDA context."""
        return self.least_bytes + self.pass_bytes


def footprint(
    config: TrainingConfig, *, train_images: int, validation_images: int, workers: int = 1
) -> Footprint | None:
    """What each of a trial's workers needs; None for a network of one's own that can't run on the meta device.

    Precision "auto" counts as bfloat16 where that pays, since every GPU from Ampere on has it: an older one needs up
    to twice the activations. Raises ValueError where `registry.find` does.
    """
    defaults = find(config.model).defaults
    batch = ceil(min(config.batch_size, train_images) / workers)
    validation_batch = min(VALIDATION_BATCH, ceil(validation_images / workers))
    with suppress(Exception):  # anything may come from the person's own code
        with torch.random.fork_rng(devices=[]):
            network = build(config.model, dropout=config.dropout).to(META)
        step = _Step(
            network, _on_gpu(config.precision, pays=defaults.reduced_precision), alone=workers == 1
        )
        plain = Footprint(
            images_bytes=(train_images + validation_images) * EXAMPLE_BYTES,
            network_bytes=_network_bytes(network),
            step_bytes=step.train_bytes(batch, squared_error),
            validation_bytes=step.validation_bytes(validation_batch, squared_error),
        )
        if workers == 1 and config.loss == "mse" and defaults.cuda_graph:
            rest = train_images % batch
            return replace(
                plain,
                graph=True,
                remainder_bytes=step.train_bytes(rest, squared_error) if rest else 0,
            )
        if config.loss != "perceptual":
            return plain
        loss, vgg_bytes = _perceptual_loss(config)
        peaks = step.train_bytes(batch, loss), step.validation_bytes(validation_batch, loss)
        added = max(peaks) - max(plain.step_bytes, plain.validation_bytes)
        return replace(plain, vgg_bytes=vgg_bytes, pass_bytes=added)
    return None


class _AsOnGpu(Precision):
    def autocast(self, device: torch.device) -> AbstractContextManager[None]:
        """Instead of PyTorch's, which the meta device has none of."""
        return AsOnGpu(self)


class _Step:
    """A step of training and a batch of validation on the meta device, as `training.Training` takes them."""

    def __init__(self, network: nn.Module, precision: Precision, *, alone: bool) -> None:
        memory_format = precision.memory_format
        self.gradients = Gradients(
            network.to(memory_format=memory_format), squared_error, precision, META, memory_format
        )
        self.alone = alone

    def train_bytes(self, count: int, loss: Loss) -> int:
        """At the peak of a step over so many images, until the workers have added up their gradients."""
        examples, indices = _examples(count)
        self.gradients.network.train()
        self.gradients.loss = loss

        def step() -> None:
            _, gradients = self.gradients.of(examples, indices, count)
            if not self.alone:
                torch.cat([gradient.flatten() for gradient in gradients])

        return peak_bytes(step)

    @torch.no_grad()
    def validation_bytes(self, count: int, loss: Loss) -> int:
        """At the peak of one batch."""
        examples, indices = _examples(count)
        self.gradients.network.eval()

        def validate() -> None:
            images, targets = self.gradients.read(examples, indices)
            outputs = self.gradients.forward(images)
            cosine_similarity(outputs, targets)
            loss(outputs, targets)

        return peak_bytes(validate)


def _examples(count: int) -> tuple[Examples, Tensor]:
    images = torch.empty(count, *IMAGE_SHAPE, dtype=torch.uint8, device=META)
    return Examples(images, torch.empty(count, *TARGET_SHAPE, device=META)), torch.arange(
        count, device=META
    )


def _perceptual_loss(config: TrainingConfig) -> tuple[Loss, int]:
    """It on the meta device, and the bytes of its weights."""
    zero = torch.zeros(())
    tensors = {
        f"features.{n}.weight": zero.expand(out, into, 3, 3)
        for n, (into, out) in CONVOLUTIONS.items()
    }
    tensors |= {f"features.{n}.bias": zero.expand(out) for n, (_, out) in CONVOLUTIONS.items()}
    vgg = Vgg16(tensors, NORMALISATIONS["imagenet"], "zeros")
    alive = Alive()
    with alive:
        loss = PerceptualLoss(
            config.perceptual, vgg, precision=_on_gpu(config.precision, pays=True), device=META
        )
    return loss, alive.bytes


def _on_gpu(requested: str, *, pays: bool) -> Precision:
    """What `precision.choose` gives on a GPU that has bfloat16."""
    name = requested if requested != "auto" else "bfloat16" if pays else "float32"
    return _AsOnGpu(name, "every GPU from Ampere on has bfloat16")


def _network_bytes(network: nn.Module) -> int:
    state: int = sum(tensor.nbytes for tensor in network.state_dict().values())
    trained: int = sum(
        parameter.nbytes for parameter in network.parameters() if parameter.requires_grad
    )
    return 2 * state + 2 * trained
