"""An FC epoch over 45,000 images against its matrix products alone, on data that is float already.

python -m benchmarks.bench_epoch
"""

import torch

from benchmarks.common import alternate, ratio, report
from trainables.data.examples import Examples
from trainables.training.loop import Training, TrainingConfig

IMAGES, BATCH, ROUNDS = 45_000, 256, 7


def main() -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (IMAGES, 3, 32, 32), dtype=torch.uint8, generator=generator)
    examples = Examples(images, torch.rand(IMAGES, 1, 28, 28, generator=generator))
    config = TrainingConfig(
        model="fc", learning_rate=1e-3, max_epochs=1000, patience=1000, seed=0, batch_size=BATCH
    )
    training = Training(
        config, examples, Examples(images[:1], examples.targets[:1]), device=torch.device("cpu")
    )
    epochs = training.epochs()
    pixels = torch.rand(IMAGES, 3072, generator=generator)
    first, second = torch.randn(128, 3072) / 50, torch.randn(784, 128) / 50

    def products() -> None:
        """Forward, both weight gradients, and the gradient between the layers."""
        for batch in pixels.split(BATCH):
            hidden = batch @ first.T
            outputs = hidden @ second.T
            outputs.T @ hidden
            (outputs @ second).T @ batch

    sides = {"fc epoch": lambda: next(epochs), "its matrix products alone": products}
    alternate(sides, 1)  # warm-up: memory pages, kernels
    seconds = alternate(sides, ROUNDS)
    label = "fc epoch by its matrix products"
    report("FC epoch", seconds, {label: (ratio(seconds, *sides), "at most 1.4")})


if __name__ == "__main__":
    main()
