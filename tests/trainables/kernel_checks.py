"""Each Triton kernel against the plain operations that it stands for.

    python -m tests.trainables.kernel_checks

It runs on a GPU where there is one. Else Triton's interpreter takes the kernels, with
TRITON_INTERPRET=1 in the environment, which has to be there before Triton is imported. So a test
runs this file in a process of its own; it needs no pytest.
"""

import sys
import time
import traceback
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, linear

from trainables import step_kernels
from trainables.data.examples import random_examples
from trainables.losses.perceptual import between_convolutions
from trainables.losses.perceptual_kernels import BetweenConvolutions
from trainables.losses.squared_error import squared_error
from trainables.networks.base import as_input
from trainables.tasks import STUDY
from trainables.training.loop import Training, TrainingConfig

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
LAST = torch.channels_last


def random(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape).to(DEVICE, dtype)


def close(mine: Any, plain: Any, relative: float = 1e-5) -> None:
    """Compare tensors by the norm of what they differ by."""
    for one, other in zip(mine, plain, strict=True):
        assert one.shape == other.shape, (one.shape, other.shape)
        apart = (one.double() - other.double()).norm() / other.double().norm().clamp_min(1e-12)
        assert apart <= relative, f"{apart.item():.1e} apart"


def both(mine: Callable[..., Tensor], plain: Callable[..., Tensor], *arguments: Tensor) -> None:
    """Compare values, and gradients towards all arguments."""
    found = []
    for function in (mine, plain):
        leaves = [argument.clone().requires_grad_() for argument in arguments]
        value = function(*leaves)
        upwards = torch.sin(torch.arange(value.numel(), device=DEVICE)).view(value.shape)
        found.append([value.detach(), *torch.autograd.grad((value * upwards).sum(), leaves)])
    close(*found)


def reading_is_index_select_and_conversion() -> None:
    for memory_format in (torch.contiguous_format, LAST):
        for shape, target_shape in (((3, 32, 32), (1, 28, 28)), ((3, 5, 7), (3, 40, 41))):
            images = torch.randint(0, 256, (9, *shape), dtype=torch.uint8, device=DEVICE)
            targets, indices = random(9, *target_shape), torch.tensor([8, 0, 3], device=DEVICE)
            read, wanted = step_kernels.read(images, targets, indices, memory_format)
            plain = as_input(images[indices], memory_format)
            assert read.stride() == plain.stride()
            assert torch.equal(wanted, targets[indices])
            torch.testing.assert_close(read, plain, rtol=1e-6, atol=0)


def the_squared_error_is_that_of_pytorch() -> None:
    for shape in ((5, 1, 28, 28), (2, 3, 7, 5)):
        targets = random(*shape)
        outputs = random(*shape).contiguous(memory_format=LAST)
        both(
            lambda x, targets=targets: step_kernels.SquaredError.apply(x, targets),
            lambda x, targets=targets: squared_error(x, targets),
            outputs,
        )


def a_linear_layer_is_that_of_pytorch() -> None:
    for rows, taken, given in ((6, 20, 128), (150, 8, 17)):
        both(
            step_kernels.Linear.apply,
            linear,
            random(rows, taken),
            random(given, taken),
            random(given),
        )


def the_gradient_before_a_relu_is_masked_and_added_up() -> None:
    for channels in (1, 12, 64):
        gradient = random(2, channels, 5, 3)
        rectified = random(2, channels, 5, 3).contiguous(memory_format=LAST).relu()
        plain = gradient * (rectified > 0)
        close(step_kernels.masked(gradient, rectified), (plain, plain.sum((0, 2, 3))))


def a_narrow_convolution_is_a_convolution() -> None:
    for channels, taken, side, padding in ((1, 64, 4, 1), (3, 64, 4, 1), (2, 16, 2, 0)):
        images = random(2, taken, 6, 5).contiguous(memory_format=LAST)
        weight = random(channels, taken, side, side).contiguous(memory_format=LAST)
        # PyTorch's own would round to TF32 on a GPU
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            both(
                lambda x, w, b, p=padding: step_kernels.NarrowConvolution.apply(x, w, b, (p, p)),
                lambda x, w, b, p=padding: conv2d(x, w, b, padding=p),
                images,
                weight,
                random(channels),
            )


def what_lies_between_two_convolutions_is_as_defined() -> None:
    for pooled in (False, True):
        for shape in ((2, 16, 4, 6), (1, 8, 5, 3)):
            for factor in (0.0, 0.3):
                _between(pooled, shape, factor)


def _between(pooled: bool, shape: tuple[int, ...], factor: float) -> None:
    difference, target, bias = random(*shape), random(*shape), random(shape[1])
    difference, target = (t.contiguous(memory_format=LAST) for t in (difference, target))
    found = []
    for function in (BetweenConvolutions.apply, between_convolutions):
        leaf = difference.clone().requires_grad_()
        less, rectified, distance = function(
            leaf, target.clone(), bias, factor, pooled, torch.float32
        )
        upwards = torch.sin(torch.arange(less.numel(), device=DEVICE)).view(less.shape)
        (gradient,) = torch.autograd.grad((less * upwards).sum() + distance, leaf)
        found.append((less.detach(), rectified, distance.detach(), gradient))
    close(*found)


def on_a_gpu_the_layers_of_cnn_are_those_of_pytorch_in_bfloat16() -> None:
    if DEVICE.type != "cuda":
        return
    layers = nn.Sequential(
        nn.Conv2d(3, 64, 4, padding=1),
        nn.ReLU(),
        nn.Conv2d(64, 64, 4, padding=1),
        nn.ReLU(),
        nn.Dropout(0.0),
        nn.Conv2d(64, 1, 4, padding=1),
    ).to(DEVICE, memory_format=LAST)
    images = torch.rand(32, 3, 32, 32, device=DEVICE).contiguous(memory_format=LAST)
    parameters, found = list(layers.parameters()), []
    upwards = torch.rand(32, 1, 29, 29, device=DEVICE)
    for function in (lambda x: step_kernels.convolutions(layers, x), layers):
        with torch.autocast("cuda", torch.bfloat16):
            outputs = function(images).float()
        value = (outputs * upwards).sum()
        found.append([outputs.detach(), *torch.autograd.grad(value, parameters)])
    exact = layers(images)
    gradients = torch.autograd.grad((exact * upwards).sum(), parameters)
    for mine, theirs, one in zip(*found, [exact.detach(), *gradients], strict=True):
        errors = [((t - one).norm() / one.norm()).item() for t in (mine, theirs)]
        assert errors[0] <= 1.5 * errors[1] + 1e-3, errors


def a_training_through_them_is_the_plain_one() -> None:
    """On a GPU it takes them by itself; on a CPU, whose networks do not, reading and loss are."""
    config = TrainingConfig(
        model="fc", learning_rate=1e-3, max_epochs=2, seed=0, batch_size=16, precision="float32"
    )
    torch.manual_seed(0)
    few, losses = random_examples(24, STUDY), []
    for device in (DEVICE, torch.device("cpu")):
        training = Training(config, few, few, device=device)
        if device.type == "cpu" and not losses:
            training.gradients.loss = step_kernels.SquaredError.apply
            training.gradients._fused_read = True
        losses.append([r.train_loss for r in training.epochs()])
        if device.type == "cuda":
            assert training.gradients._fused_read
            assert training.gradients.loss == step_kernels.SquaredError.apply
    close(*[[torch.tensor(loss) for loss in one] for one in losses], relative=1e-4)


CHECKS = (
    reading_is_index_select_and_conversion,
    the_squared_error_is_that_of_pytorch,
    a_linear_layer_is_that_of_pytorch,
    the_gradient_before_a_relu_is_masked_and_added_up,
    a_narrow_convolution_is_a_convolution,
    what_lies_between_two_convolutions_is_as_defined,
    on_a_gpu_the_layers_of_cnn_are_those_of_pytorch_in_bfloat16,
    a_training_through_them_is_the_plain_one,
)


def main() -> int:
    """Run all checks; returns the exit status."""
    failed = []
    for check in CHECKS:
        torch.manual_seed(0)
        start = time.perf_counter()
        try:
            check()
            print(f"{check.__name__}: holds, {time.perf_counter() - start:.1f} s", flush=True)
        except Exception:
            traceback.print_exc()
            print(f"{check.__name__}: fails", flush=True)
            failed.append(check)
    return len(failed)


if __name__ == "__main__":
    sys.exit(main())
