"""A training step of can at 64 × 64, batch 64, against the same layers written plainly.

The plain side has PyTorch's own modules, autograd, autocast, `torch.optim.Adam` and whole batches,
in the same number format.

python -m benchmarks.bench_can_step
"""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.common import alternate, ratio, report
from trainables.data.examples import Examples, as_float
from trainables.networks.can import DEVIATION, KERNEL, LEAST_VARIANCE, SLOPE, dilations
from trainables.tasks import STUDY
from trainables.training.loop import Training, TrainingConfig

BATCH, SIDE, CHANNELS, DEPTH, ROUNDS = 64, 64, 32, 4, 7
CPU = torch.device("cpu")
TASK = replace(STUDY, input_shape=(3, SIDE, SIDE), output_shape=(3, SIDE, SIDE))


class PlainNorm(nn.Module):
    """What `AdaptiveNorm` computes, as one would write it down."""

    def __init__(self) -> None:
        super().__init__()
        self.scale, self.shift = nn.Linear(CHANNELS, CHANNELS), nn.Linear(CHANNELS, CHANNELS)

    def forward(self, features: Tensor) -> Tensor:
        means = torch.tanh(features.mean((2, 3)))
        scale, shift = self.scale(means)[..., None, None], self.shift(means)[..., None, None]
        outputs: Tensor = scale * features + shift
        return outputs


class PlainCan(nn.Module):
    """The layers of can."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for number, dilation in enumerate(dilations(DEPTH)):
            taken = CHANNELS if number else 6
            layers += [
                nn.Conv2d(taken, CHANNELS, KERNEL, padding=dilation, dilation=dilation, bias=False),
                PlainNorm(),
                nn.LeakyReLU(SLOPE),
            ]
        self.layers = nn.Sequential(*layers, nn.Conv2d(CHANNELS, 3, 1, bias=False))

    def forward(self, images: Tensor) -> Tensor:
        normalised = DEVIATION * functional.instance_norm(images, eps=LEAST_VARIANCE)
        outputs: Tensor = self.layers(torch.cat([images, normalised], dim=1))
        return outputs


def plain_step(examples: Examples, *, reduced: bool) -> Callable[[], None]:
    """Return a step over the one batch there is."""
    network = PlainCan()
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)

    def step() -> None:
        images, targets = as_float(examples.images), examples.targets
        with torch.autocast("cpu", torch.bfloat16, enabled=reduced):
            outputs = network(images)
        optimizer.zero_grad()
        functional.mse_loss(outputs.float(), targets).backward()
        optimizer.step()

    return step


def step(examples: Examples, precision: str) -> tuple[Callable[[], float], str]:
    """Return a step as searches make it, whose epoch is one batch, and its number format."""
    config = TrainingConfig(
        model="can",
        task=TASK,
        chosen={"channels": CHANNELS, "depth": DEPTH},
        learning_rate=1e-3,
        max_epochs=1000,
        patience=1000,
        seed=0,
        batch_size=BATCH,
        precision=precision,
    )
    training = Training(config, examples, examples, device=CPU)
    return lambda: training.train_epoch(1), training.precision.name


def main() -> None:
    images = torch.randint(0, 256, (BATCH, *TASK.input_shape), dtype=torch.uint8)
    examples = Examples(images, torch.rand(BATCH, *TASK.output_shape))
    for precision in ("auto", "float32"):
        ours, name = step(examples, precision)
        plain, here = f"plain layers, {name}", f"as trained here, {name}"
        sides: dict[str, Callable[[], object]] = {
            plain: plain_step(examples, reduced=name == "bfloat16"),
            here: ours,
        }
        alternate(sides, 2)
        seconds = alternate(sides, ROUNDS)
        report(f"can step, {name}", seconds, {f"{plain} by ours": (ratio(seconds, *sides), "≥ 1")})
        if name == "float32":
            return


if __name__ == "__main__":
    main()
