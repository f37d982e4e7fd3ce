"""The perceptual loss and its gradient, batch 16 at 224 pixels, against the formula in float32.

    python -m benchmarks.bench_perceptual [ROUNDS]

Plainly: torchvision's whole VGG16 as it comes, both branches with gradients, the whole batch at
once. Times are taken in turn in one process; memory is the peak of a process of its own for each
side, with all that it has loaded. The weights are random, which costs as much as trained ones.
"""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import interpolate, mse_loss
from torchvision.models import vgg16

from benchmarks.common import alternate, ratio, report
from trainables.losses.loss_settings import NORMALISATIONS, Perceptual
from trainables.losses.perceptual import PerceptualLoss
from trainables.losses.vgg16_weights import Vgg16, random_vgg16
from trainables.tasks import STUDY
from trainables.training.precision import bfloat16_unit, choose

BATCH, ROUNDS = 16, 5
CPU = torch.device("cpu")
SETTINGS = Perceptual()
NORMALISATION = NORMALISATIONS["imagenet"]
PLAIN, OURS = "the formula, written plainly", "as computed here"
Step = Callable[[], tuple[float, Tensor]]


def pictures() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    outputs, targets = (torch.rand(BATCH, 1, 28, 28, generator=generator) for _ in range(2))
    return outputs.requires_grad_(), targets


def weights() -> dict[str, Tensor]:
    """Make weights, the same for both sides."""
    torch.manual_seed(0)
    return random_vgg16().tensors


def plain() -> Step:
    network = vgg16().eval()
    network.load_state_dict(weights(), strict=False)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (NORMALISATION.mean, NORMALISATION.std))
    outputs, targets = pictures()

    def activations(images: Tensor) -> list[Tensor]:
        images = interpolate(images, (SETTINGS.size, SETTINGS.size), mode="bilinear").repeat(
            1, 3, 1, 1
        )
        images, seen = (images - mean) / std, []
        for index, layer in enumerate(network.features):
            if isinstance(layer, torch.nn.ReLU):
                layer.inplace = False  # or it writes over what was seen
            images = layer(images)
            if index in SETTINGS.layers:
                seen.append(images)
        return seen

    def step() -> tuple[float, Tensor]:
        loss = mse_loss(outputs, targets)
        for ours, theirs in zip(activations(outputs), activations(targets), strict=True):
            loss = loss + (ours - theirs).square().sum() / ours.numel()
        outputs.grad = None
        network.zero_grad()
        loss.backward()
        return loss.item(), outputs.grad

    return step


def ours() -> Step:
    precision = choose("auto", pays=True, device=CPU)
    loss = PerceptualLoss(
        SETTINGS,
        STUDY,
        Vgg16(weights(), NORMALISATION, "random"),
        precision=precision,
        device=CPU,
    )
    outputs, targets = pictures()

    def step() -> tuple[float, Tensor]:
        value = loss(outputs, targets) / BATCH
        (gradient,) = torch.autograd.grad(value, outputs)
        return value.item(), gradient

    return step


def peak_mib(side: str) -> float:
    """Return the peak memory of a process that takes one step."""
    code = f"from benchmarks import bench_perceptual as b; b.one_step({side!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(done.stdout.splitlines()[-1])


def one_step(side: str) -> None:
    step = ours() if side == OURS else plain()
    step()
    # What getrusage says includes the process that started this one
    status = Path("/proc/self/status").read_text()
    print(float(status.partition("VmHWM:")[2].split()[0]) / 1024)


def main(rounds: str = str(ROUNDS)) -> None:
    unit = bfloat16_unit(CPU)
    without = "this CPU has no unit for it: float32 on both sides"
    print(f"{'with' if unit else 'without'} bfloat16 ({unit or without})")
    sides = {PLAIN: plain(), OURS: ours()}
    (value, gradient), (expected, exact) = sides[OURS](), sides[PLAIN]()  # also the warm-up
    print(
        f"they differ by {abs(value / expected - 1):.1e}, their gradients by "
        f"{((gradient - exact).norm() / exact.norm()).item():.1e}"
    )
    seconds = alternate(sides, int(rounds))
    memory = {side: peak_mib(side) for side in sides}
    report(
        "Perceptual loss",
        seconds,
        {
            "plain by ours, time": (ratio(seconds, PLAIN, OURS), "at least 4, with AMX"),
            "plain by ours, peak memory": (memory[PLAIN] / memory[OURS], "at least 2"),
            **{f"MiB of {side}": (mib, "for information") for side, mib in memory.items()},
        },
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
