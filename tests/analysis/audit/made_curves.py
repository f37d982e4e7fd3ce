"""Trials that were trained in full, made up."""

import math
import random
from pathlib import Path

from analysis.audit.curve import Curve
from tests.analysis.made_runs import epoch_frame, make_run, put, run_row, trial_frame


def curve(*losses: float, epoch_sec: float = 1.0) -> Curve:
    """A trial with these losses."""
    return Curve(losses, [epoch_sec] * len(losses))


def lucky_curves(seed: int, trials: int = 30, epochs: int = 12) -> list[Curve]:
    """Trials of different speeds; some end by themselves, some diverge."""
    luck = random.Random(seed)
    curves = []
    for number in range(trials):
        count = luck.randint(2, epochs) if number % 5 == 4 else epochs
        start, slope = luck.random(), luck.choice([0.5, 1.0])
        losses = [start / epoch**slope + 0.1 * luck.random() for epoch in range(1, count + 1)]
        if number % 7 == 6:
            losses[-1] = math.nan
        curves.append(curve(*losses, epoch_sec=luck.choice([1.0, 1.0, 2.5])))
    return curves


def make_full_run(storage: Path, name: str = "full", trials: int = 10, epochs: int = 6) -> None:
    """Publish a run whose trials all came to their end; in each epoch their order is the same."""
    make_run(storage, name, trials=trials, epochs=epochs, tested=False)
    made = trial_frame(run_row(name), trials, epochs)
    made = made.assign(stop_reason="max_epochs", epochs=epochs)
    put(storage / "tables", "trials", name, made)
    put(storage / "tables", "epochs", name, epoch_frame(made, epochs))
