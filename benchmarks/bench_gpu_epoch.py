"""Training epochs on a GPU, 45,000 random images in batches of 256; the goals are an NVIDIA H200's.

python -m benchmarks.bench_gpu_epoch [ROUNDS]
"""

import statistics
import sys

import torch

from benchmarks.common import alternate, report
from trainables.data.examples import random_examples
from trainables.losses.vgg16_weights import random_vgg16
from trainables.tasks import STUDY
from trainables.training.loop import Training, TrainingConfig

IMAGES, BATCH, ROUNDS = 45_000, 256, 3
EPOCHS = {
    "fc epoch": ("fc", "mse", 0.06),
    "cnn epoch": ("cnn", "mse", 0.5),
    "cnn epoch, perceptual loss at 224 px": ("cnn", "perceptual", 30.0),
}


def main(rounds: str = str(ROUNDS)) -> None:
    if not torch.cuda.is_available():
        print("GPU epochs: not measured: no GPU here")
        return
    examples, one = (
        random_examples(IMAGES, STUDY).to(torch.device("cuda")),
        random_examples(1, STUDY),
    )
    seconds, ratios = {}, {}
    for label, (model, loss, goal_sec) in EPOCHS.items():
        config = TrainingConfig(
            model=model, learning_rate=1e-4, max_epochs=1, seed=0, batch_size=BATCH, loss=loss
        )
        vgg = random_vgg16() if loss == "perceptual" else None
        training = Training(config, examples, one, device=torch.device("cuda"), vgg=vgg)
        print(f"{label} in {training.precision.name} …", flush=True)
        training.train_epoch(1)  # kernels are chosen, graphs recorded
        seconds |= alternate(
            {label: lambda training=training: training.train_epoch(2)}, int(rounds)
        )
        ratios[f"{label}, seconds"] = (
            statistics.median(seconds[label]),
            f"at most {goal_sec} s on an H200",
        )
    report("GPU epochs", seconds, ratios)


if __name__ == "__main__":
    main(*sys.argv[1:])
