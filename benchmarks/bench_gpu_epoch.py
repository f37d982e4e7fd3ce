"""Training epochs on a GPU, random images in batches of 256, beside a plain loop.

    python -m benchmarks.bench_gpu_epoch [ROUNDS]

Plainly: PyTorch's layers, loss and Adam as one writes them, eager, images and targets on the GPU.
The perceptual epoch, at 224 px, has 4,608 images, and its figure is for 45,000; `bench_perceptual`
has its plain side. The goals are an NVIDIA H100's.
"""

import statistics
import sys
from collections.abc import Callable

import torch
from torch import nn
from torch.nn.functional import mse_loss

from benchmarks.common import alternate, ratio, report
from trainables.data.examples import Examples, random_examples
from trainables.losses.vgg16_weights import random_vgg16
from trainables.networks.registry import build
from trainables.tasks import STUDY
from trainables.training.loop import Training, TrainingConfig

IMAGES, PERCEPTUAL_IMAGES, BATCH, ROUNDS = 45_000, 4_608, 256, 5
CUDA = torch.device("cuda")
DROPOUT = {"dropout": 0.25}
# Label: network, its choices, loss, seconds at most
EPOCHS = {
    "fc epoch": ("fc", {}, "mse", 0.018),
    "fc epoch, dropout": ("fc", DROPOUT, "mse", None),
    "cnn epoch": ("cnn", {}, "mse", 0.20),
    "cnn epoch, dropout": ("cnn", DROPOUT, "mse", None),
    "cnn epoch, perceptual loss at 224 px": ("cnn", {}, "perceptual", 18.0),
}


def ours(model: str, chosen: dict[str, float], loss: str, examples: Examples) -> Callable:
    config = TrainingConfig(
        model=model,
        chosen=chosen,
        learning_rate=1e-4,
        max_epochs=1,
        seed=0,
        batch_size=BATCH,
        loss=loss,
    )
    vgg = random_vgg16() if loss == "perceptual" else None
    training = Training(config, examples, examples.first(BATCH), device=CUDA, vgg=vgg)
    print(f"{model}, {loss}, in {training.precision.name} …", flush=True)
    next(training.epochs())  # kernels are chosen, graphs recorded
    print(training.graph_problem, end="", flush=True)
    return lambda: training.train_epoch(2)


def plain(model: str, examples: Examples) -> Callable:
    """Make a function that trains for an epoch, in the number format that training chooses."""
    layers = [_plain(layer) for layer in build(model).layers]
    reduced = model == "cnn"
    layout = torch.channels_last if reduced else torch.contiguous_format
    network = nn.Sequential(*layers).to(CUDA, memory_format=layout)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4)

    def epoch() -> float:
        total = torch.zeros((), device=CUDA)
        for batch in torch.randperm(len(examples), device=CUDA).split(BATCH):
            images = (examples.images[batch].float() / 255).contiguous(memory_format=layout)
            with torch.autocast("cuda", torch.bfloat16, enabled=reduced):
                outputs = network(images)
            loss = mse_loss(
                outputs.float().reshape(-1, *STUDY.output_shape), examples.targets[batch]
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.detach() * len(batch)
        return total.item()

    epoch()
    return epoch


def _plain(layer: nn.Module) -> nn.Module:
    """Return PyTorch's own layer: ours takes kernels of ours."""
    if isinstance(layer, nn.Linear):
        return nn.Linear(layer.in_features, layer.out_features)
    return layer


def main(rounds: str = str(ROUNDS)) -> None:
    if not torch.cuda.is_available():
        print("GPU epochs: not measured: no GPU here")
        return
    torch.backends.cuda.matmul.allow_tf32 = False
    examples = random_examples(IMAGES, STUDY).to(CUDA)
    seconds: dict[str, list[float]] = {}
    ratios = {}
    for label, (model, chosen, loss, goal_sec) in EPOCHS.items():
        count = PERCEPTUAL_IMAGES if loss == "perceptual" else IMAGES
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        sides = {label: ours(model, chosen, loss, examples.first(count))}
        mib = torch.cuda.max_memory_reserved() / 2**20
        ratios[f"{label}, MiB reserved"] = (mib, "for information")
        plainly = f"{label}, plainly"
        if loss == "mse" and not chosen:
            sides[plainly] = plain(model, examples)
        seconds |= alternate(sides, int(rounds))
        sec = statistics.median(seconds[label]) * IMAGES / count
        goal = f"at most {goal_sec} s on an H100" if goal_sec else "for information"
        ratios[f"{label}, seconds for {IMAGES:,} images"] = (sec, goal)
        if plainly in sides:
            ratios[f"{plainly}, by ours"] = (ratio(seconds, plainly, label), "for information")
    report("GPU epochs", seconds, ratios)


if __name__ == "__main__":
    main(*sys.argv[1:])
