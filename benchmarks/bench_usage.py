"""What it costs that a trial samples what it takes of its machine.

Seconds are of the processor: those by the clock differ by more from round to round. A third side,
the same as the second, shows how far equals differ.

python -m benchmarks.bench_usage
"""

import random
import time

import torch

from benchmarks.common import ratio, report
from trainables.data.examples import random_examples
from trainables.tasks import STUDY
from trainables.training.loop import Training, TrainingConfig
from tuner.trials.usage_samples import UsageSamples

IMAGES, EPOCHS, ROUNDS, IDLE_SEC = 4_096, 2, 60, 10.0
CPU = torch.device("cpu")


def main() -> None:
    examples = random_examples(IMAGES, STUDY)
    config = TrainingConfig(
        model="fc", learning_rate=1e-3, max_epochs=10**6, patience=10**6, seed=0, batch_size=256
    )
    epochs = Training(config, examples, examples.first(1), device=CPU).epochs()
    usage = UsageSamples()
    start = time.process_time()
    usage.start(CPU)
    time.sleep(IDLE_SEC)
    usage.stop()
    alone_sec = time.process_time() - start
    print(f"{len(usage.take())} samples in {IDLE_SEC:g} s: {1e3 * alone_sec:.1f} ms of a core")

    def without() -> None:
        for _ in range(EPOCHS):
            next(epochs)

    def sampled() -> None:
        usage.start(CPU)
        for _ in range(EPOCHS):
            next(epochs)
            usage.take()
        usage.stop()

    sides = {"with samples": sampled, "without": without, "without, again": without}
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(1 + ROUNDS):
        for name in random.sample(list(sides), len(sides)):
            start = time.process_time()
            sides[name]()
            seconds[name].append(time.process_time() - start)
    seconds = {name: spent[1:] for name, spent in seconds.items()}  # the first warms up
    ratios = {
        f"{name} by without": (ratio(seconds, name, "without"), "as near to 1 as the other")
        for name in sides
        if name != "without"
    }
    report(f"{EPOCHS} fc epochs", seconds, ratios)


if __name__ == "__main__":
    main()
