"""The 16 trials of bench_search in one plain Python loop: no Ray, no tables, no checkpoints."""

import sys

import torch

from trainables.data.loading import load
from trainables.hyperparameters import Asked, said_of, training_values, values_of
from trainables.networks.base import space_of
from trainables.networks.fc import FC
from trainables.training.loop import Training, TrainingConfig
from tuner.trials.space import Space


def main(source: str, images: int, trials: int, epochs: int) -> None:
    """Print the best validation loss."""
    used = load(source, images)
    space = Space.of(space_of(FC), Asked({"patience": (epochs, epochs)}))
    best = []
    for number in range(trials):
        drawn = space.draw(0, number)
        values = training_values(values_of(space.parameters, said_of(drawn)))
        config = TrainingConfig(model="fc", max_epochs=epochs, seed=space.seed(0, drawn), **values)
        training = Training(config, used.train, used.validation, device=torch.device("cpu"))
        best.append(min(record.validation_loss for record in training.epochs()))
    print(min(best))


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
