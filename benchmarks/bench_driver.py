"""What the driver does for each report of a trial: ASHA's decision, the tables, the progress line.

    python -m benchmarks.bench_driver [TRIALS] [EPOCHS]

Simulated: 1,000 trials run at once and report in turn, each EPOCHS times, whatever ASHA says; the recorder, ASHA,
the proposals and the tables on the disk are the real ones. Ray Tune's own work for a report comes on top.
"""

import math
import random
import resource
import statistics
import sys
import tempfile
import time
from types import SimpleNamespace
from typing import Any

from analysis.console import Console
from benchmarks.common import report
from tuner.cluster.quiet import prepare_environment

AT_ONCE = 1000
TENTHS = 10


def epoch_result(epoch: int, loss: float, epochs: int) -> dict[str, Any]:
    """A report as `tuner.trials.trial` sends it."""
    return {
        "epoch": epoch,
        "train_loss": loss * 1.1,
        "validation_loss": loss,
        "validation_accuracy": 1 / (1 + loss),
        "validation_cosine": 1 / (1 + loss / 10),
        "train_sec": 1.0,
        "validation_sec": 0.1,
        "images_per_sec": 45_000.0,
        "stop_reason": "max_epochs" if epoch == epochs else None,
        "objective": loss,
        "device": "cpu",
        "precision": "float32",
        "precision_reason": "simulated",
        "threads": 1,
        "host": "here",
        "start_sec": 0.1,
        "reused_process": True,
        "peak_mib": 100.0,
    }


class Simulation:
    """The driver's side of a search whose trials need no time."""

    def __init__(self, storage: str, trials: int, epochs: int) -> None:
        from tuner.progress.recorder import Recorder
        from tuner.progress.tracking import Tracker
        from tuner.settings import SearchConfig
        from tuner.trials.proposals import Proposals
        from tuner.trials.scheduler import Rungs
        from tuner.trials.space import Space

        config = SearchConfig(
            model="fc", name="simulated", storage=storage, samples=trials, max_epochs=epochs
        )
        self.proposals = Proposals([], space=Space.of("fc", {}), seed=0, numbers=range(trials))
        self.rungs = Rungs(config)
        self.recorder = Recorder(config, Console(), Tracker())
        self.random = random.Random(0)
        self.epochs = epochs
        self.seconds: list[float] = []

    def start(self, number: int) -> Any:
        """The next trial."""
        alive = SimpleNamespace(num_failures=0)
        config = self.proposals.suggest(str(number))
        trial = SimpleNamespace(
            config=config, trial_id=str(number), error_file=None, run_metadata=alive
        )
        self.rungs.on_trial_add(None, trial)
        self.recorder.on_trial_start(0, [], trial)
        return trial

    def report(self, trial: Any, epoch: int) -> None:
        """One report, timed."""
        loss = math.exp(self.random.gauss(-4, 1)) / epoch
        result = epoch_result(epoch, loss, self.epochs)
        start = time.perf_counter()
        self.rungs.on_trial_result(None, trial, result)
        self.recorder.on_trial_result(0, [], trial, result)
        self.seconds.append(time.perf_counter() - start)

    def run(self, trials: int) -> None:
        """All trials, AT_ONCE of them side by side."""
        for first in range(0, trials, AT_ONCE):
            running = [self.start(number) for number in range(first, min(first + AT_ONCE, trials))]
            for epoch in range(1, self.epochs + 1):
                for trial in running:
                    self.report(trial, epoch)
            for trial in running:
                self.recorder.on_trial_complete(0, [], trial)
        self.recorder.close()


def main(trials: str = "10000", epochs: str = "20") -> None:
    prepare_environment(verbose=False)
    with tempfile.TemporaryDirectory() as storage:
        simulation = Simulation(storage, int(trials), int(epochs))
        start = time.perf_counter()
        simulation.run(int(trials))
        whole = time.perf_counter() - start
    seconds = simulation.seconds
    last = seconds[-len(seconds) // TENTHS :]
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    goal = "below 5"
    report(
        f"Driver, {int(trials):,} trials × {epochs} reports",
        {"the whole simulation": [whole]},
        {
            "mean of all reports, writing included, ms": (statistics.mean(seconds) * 1000, goal),
            "mean of the last tenth, ms": (statistics.mean(last) * 1000, goal),
            "median of the last tenth, ms": (statistics.median(last) * 1000, goal),
            "peak memory, MiB": (peak_mib, "below 2,048"),
        },
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
