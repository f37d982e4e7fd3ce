"""A CNN training step, batch 256, in the precision chosen here against plain float32.

python -m benchmarks.bench_cnn_step
"""

import torch

from benchmarks.common import alternate, ratio, report
from trainables.data.examples import Examples
from trainables.training.loop import Training, TrainingConfig
from trainables.training.precision import bfloat16_unit

BATCH, ROUNDS = 256, 5


def training(precision: str, examples: Examples) -> Training:
    """Start a training whose epoch is one batch."""
    config = TrainingConfig(
        model="cnn",
        learning_rate=1e-3,
        max_epochs=100,
        patience=100,
        seed=0,
        batch_size=BATCH,
        precision=precision,
    )
    return Training(
        config,
        examples,
        Examples(examples.images[:1], examples.targets[:1]),
        device=torch.device("cpu"),
    )


def main() -> None:
    unit = bfloat16_unit(torch.device("cpu"))
    if unit is None:
        print(
            "CNN step: not measured, since this CPU has no bfloat16 unit: "
            "both sides would be the same float32"
        )
        return
    images = torch.randint(0, 256, (BATCH, 3, 32, 32), dtype=torch.uint8)
    examples = Examples(images, torch.rand(BATCH, 1, 28, 28))
    reduced, plain = training("auto", examples).epochs(), training("float32", examples).epochs()
    sides = {
        f"float32, contiguous ({unit} unused)": lambda: next(plain),
        "as chosen here": lambda: next(reduced),
    }
    alternate(sides, 1)
    seconds = alternate(sides, ROUNDS)
    report(
        "CNN step",
        seconds,
        {"float32 by what is chosen": (ratio(seconds, *sides), "at least 2.5 with AMX")},
    )


if __name__ == "__main__":
    main()
