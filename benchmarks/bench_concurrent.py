"""Two fc trials at once, with one thread each, against one after the other with two; no Ray.

    python -m benchmarks.bench_concurrent [ROUNDS]

Only training is timed: both processes have their images, and start an epoch when they are told to.
"""

import multiprocessing
import sys
from multiprocessing.synchronize import Barrier

import torch

from benchmarks.common import alternate, ratio, report
from trainables.data.examples import random_examples
from trainables.tasks import STUDY
from trainables.training.loop import Training, TrainingConfig

IMAGES, EPOCHS, TRIALS, ROUNDS = 20_000, 3, 2, 7
PATIENCE_SEC = 600  # until a process that does not come is given up


def trial() -> Training:
    config = TrainingConfig(model="fc", learning_rate=1e-3, max_epochs=1, seed=0)
    return Training(
        config,
        random_examples(IMAGES, STUDY),
        random_examples(1, STUDY),
        device=torch.device("cpu"),
    )


def train(training: Training) -> None:
    for epoch in range(EPOCHS):
        training.train_epoch(epoch)


def work(start: Barrier, end: Barrier, rounds: int) -> None:
    """Train when told to, in a process of its own."""
    torch.set_num_threads(1)
    training = trial()
    for _ in range(rounds):
        start.wait(PATIENCE_SEC)
        train(training)
        end.wait(PATIENCE_SEC)


def main(rounds: str = str(ROUNDS)) -> None:
    torch.set_num_threads(TRIALS)
    context = multiprocessing.get_context("spawn")
    start, end = context.Barrier(TRIALS + 1), context.Barrier(TRIALS + 1)
    arguments = (start, end, 1 + int(rounds))
    processes = [context.Process(target=work, args=arguments, daemon=True) for _ in range(TRIALS)]
    for process in processes:
        process.start()
    trials = [trial() for _ in range(TRIALS)]

    def in_turn() -> None:
        for training in trials:
            train(training)

    def at_once() -> None:
        start.wait(PATIENCE_SEC)
        end.wait(PATIENCE_SEC)

    sides = {"one after the other, 2 threads": in_turn, "both at once, 1 thread each": at_once}
    alternate(sides, 1)  # warm-up
    seconds = alternate(sides, int(rounds))
    for process in processes:
        process.join()
    label = "one after the other by both at once"
    report("Two fc trials", seconds, {label: (ratio(seconds, *sides), "at least 1: not slower")})


if __name__ == "__main__":
    main(*sys.argv[1:])
