"""The perceptual loss and its gradient at 224 pixels against the formula, on a GPU or a CPU.

    python -m benchmarks.bench_perceptual [ROUNDS]

Plainly: VGG16 as it comes, both branches with gradients, the whole batch at once, in PyTorch's
default number format: float32, which a GPU's convolutions round to TF32. On a GPU the formula is
timed with weights that ask for no gradients, too. Times are taken in turn in one process; memory is
the peak of a process of its own for each side, with all that it has loaded. The weights are random,
which costs as much as trained ones.
"""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, mse_loss

from benchmarks.common import alternate, ratio, report
from trainables.losses.loss_settings import CONVOLUTIONS, NORMALISATIONS, POOLED, Perceptual
from trainables.losses.perceptual import PerceptualLoss
from trainables.losses.vgg16_weights import Vgg16, random_vgg16
from trainables.tasks import STUDY
from trainables.training.precision import bfloat16_unit, choose

ROUNDS = 5
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
BATCH, GOAL = {"cpu": (16, "at least 4, with AMX"), "cuda": (64, "at least 2")}[DEVICE.type]
SETTINGS = Perceptual()
NORMALISATION = NORMALISATIONS["imagenet"]
PLAIN, OURS = "the formula, written plainly", "as computed here"
FROZEN = "the formula, with weights that are frozen and targets without gradients"
Step = Callable[[], tuple[float, Tensor]]


def pictures() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    outputs, targets = (
        torch.rand(BATCH, 1, 28, 28, generator=generator).to(DEVICE) for _ in range(2)
    )
    return outputs.requires_grad_(), targets


def weights() -> dict[str, Tensor]:
    """Make weights, the same for both sides."""
    torch.manual_seed(0)
    return random_vgg16().tensors


def features() -> nn.Sequential:
    """Return the layers of VGG16: on a CPU torchvision's, beside its classifier."""
    if DEVICE.type == "cpu":
        from torchvision.models import vgg16  # here: a GPU machine may lack it

        network = vgg16().eval()
        network.load_state_dict(weights(), strict=False)
        return network.features
    layers: list[nn.Module] = []
    for index, (taken, given) in CONVOLUTIONS.items():
        layers += [nn.Conv2d(taken, given, 3, padding=1), nn.ReLU()]
        if index in POOLED:
            layers.append(nn.MaxPool2d(2))
    network = nn.ModuleDict({"features": nn.Sequential(*layers)})
    network.load_state_dict(weights(), strict=False)
    return network["features"].to(DEVICE)


def plain(frozen: bool = False) -> Step:
    layers = features().requires_grad_(not frozen)
    mean, std = (
        torch.tensor(v, device=DEVICE).view(3, 1, 1)
        for v in (NORMALISATION.mean, NORMALISATION.std)
    )
    outputs, targets = pictures()

    def activations(images: Tensor) -> list[Tensor]:
        images = interpolate(images, (SETTINGS.size, SETTINGS.size), mode="bilinear").repeat(
            1, 3, 1, 1
        )
        images, seen = (images - mean) / std, []
        for index, layer in enumerate(layers):
            if isinstance(layer, torch.nn.ReLU):
                layer.inplace = False  # or it writes over what was seen
            if index > max(SETTINGS.layers):
                break
            images = layer(images)
            if index in SETTINGS.layers:
                seen.append(images)
        return seen

    def step() -> tuple[float, Tensor]:
        torch.backends.cudnn.allow_tf32 = True  # PyTorch's default
        loss = mse_loss(outputs, targets)
        with torch.set_grad_enabled(not frozen):
            of_targets = activations(targets)
        for ours, theirs in zip(activations(outputs), of_targets, strict=True):
            loss = loss + (ours - theirs).square().sum() / ours.numel()
        outputs.grad = None
        layers.zero_grad()
        loss.backward()
        return loss.item(), outputs.grad

    return step


def ours() -> Step:
    precision = choose("auto", pays=True, device=DEVICE)
    loss = PerceptualLoss(
        SETTINGS,
        STUDY,
        Vgg16(weights(), NORMALISATION, "random"),
        precision=precision,
        device=DEVICE,
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
    SIDES[side]()()
    if DEVICE.type == "cuda":
        print(torch.cuda.max_memory_allocated() / 2**20)
        return
    # What getrusage says includes the process that started this one
    status = Path("/proc/self/status").read_text()
    print(float(status.partition("VmHWM:")[2].split()[0]) / 1024)


SIDES: dict[str, Callable[[], Step]] = {PLAIN: plain, OURS: ours}
if DEVICE.type == "cuda":
    SIDES[FROZEN] = lambda: plain(frozen=True)


def main(rounds: str = str(ROUNDS)) -> None:
    unit = bfloat16_unit(DEVICE)
    without = f"this {DEVICE.type} has no unit for it: float32 on both sides"
    print(f"{'with' if unit else 'without'} bfloat16 ({unit or without}), {BATCH} images")
    sides = {name: made() for name, made in SIDES.items()}
    (value, gradient), (expected, exact) = sides[OURS](), sides[PLAIN]()  # also the warm-up
    print(
        f"they differ by {abs(value / expected - 1):.1e}, their gradients by "
        f"{((gradient - exact).norm() / exact.norm()).item():.1e}"
    )
    alternate(sides, 1)
    seconds = alternate(sides, int(rounds))
    memory = {side: peak_mib(side) for side in sides}
    frozen = {FROZEN: (ratio(seconds, FROZEN, OURS), GOAL)} if FROZEN in sides else {}
    report(
        "Perceptual loss",
        seconds,
        {
            "plain by ours, time": (ratio(seconds, PLAIN, OURS), GOAL),
            **frozen,
            "plain by ours, peak memory": (memory[PLAIN] / memory[OURS], "at least 2"),
            **{f"MiB of {side}": (mib, "for information") for side, mib in memory.items()},
        },
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
