"""What the driver does for each report of a trial: ASHA's decision, the tables, the progress line.

    python -m benchmarks.bench_driver [TRIALS] [EPOCHS]

Simulated: 1,000 trials run at once and report in turn, each EPOCHS times, whatever ASHA says. The
recorder, ASHA, the proposals and the tables on the disk are the real ones. Ray Tune's own work for
a report comes on top.
"""

import math
import os
import random
import resource
import statistics
import sys
import tempfile
import time
from typing import Any

from ray import tune

from analysis.console import Console
from benchmarks.common import report
from tests.tuner.simulated_tune import Trial, simulated
from trainables.goal import USUAL
from trainables.networks.base import space_of
from trainables.networks.fc import FC
from tuner.progress.lines import TrialLines
from tuner.progress.recorder import Recorder, Tracker
from tuner.progress.rows import RunRows
from tuner.storage.run_storage import RunStorage
from tuner.trials.proposals import Proposals
from tuner.trials.scheduler import Rungs
from tuner.trials.space import Space

AT_ONCE = 1000
TENTHS = 10


class Undecided(Rungs):
    """ASHA that decides and is not heard."""

    def on_trial_result(self, *reported: Any) -> str:
        """Work it out, and go on."""
        super().on_trial_result(*reported)
        return str(self.CONTINUE)


class Stopwatch:
    """Seconds from a trial's report until the driver has heard all of it."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self._start = 0.0

    def __call__(self, what: str, trial: Trial) -> None:
        now = time.perf_counter()
        if what == "written":
            self._start = now
        else:
            self.seconds.append(now - self._start)


def report_of(epoch: int, loss: float, epochs: int) -> dict[str, Any]:
    """An epoch as `tuner.trials.reporter` reports it."""
    return {
        "epoch": epoch,
        "train_loss": loss * 1.1,
        "validation_loss": loss,
        "validation_accuracy": 1 / (1 + loss),
        "validation_cosine": 1 / (1 + loss / 10),
        "train_sec": 1.0,
        "validation_sec": 0.1,
        "images_per_sec": 45_000.0,
        "stop_reason": "max_epochs" if epoch == epochs else "",
        "objective": loss,
        "device": "cpu",
        "precision": "float32",
        "precision_reason": "simulated",
        "compiled": False,
        "threads": 1,
        "perceptual_batch": None,
        "fallback": "",
        "host": "here",
        "start_sec": 0.1,
        "reused_process": True,
        "peak_mib": 100.0,
    }


def search(storage: str, trials: int, epochs: int) -> list[float]:
    """Run all trials, AT_ONCE of them side by side; seconds of each report."""

    def trial(proposal: dict[str, Any]) -> None:
        luck = random.Random(proposal["number"])
        for epoch in range(1, epochs + 1):
            tune.report(report_of(epoch, math.exp(luck.gauss(-4, 1)) / epoch, epochs))

    os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(AT_ONCE)
    rows = RunRows(RunStorage(storage, "simulated"), USUAL)
    lines = TrialLines(Console(), USUAL, samples=trials)
    recorder = Recorder(rows, lines, Tracker())
    asha = Undecided(
        USUAL, max_epochs=epochs, grace_epochs=1, reduction_factor=3.0, mixed_losses=False
    )
    with simulated(cpus=AT_ONCE) as ray:
        ray.moment = stopwatch = Stopwatch()
        tune.Tuner(
            tune.with_resources(trial, {"CPU": 1}),
            tune_config=tune.TuneConfig(
                num_samples=trials,
                search_alg=Proposals(
                    [], spaces={"fc": Space(space_of(FC))}, seed=0, numbers=range(trials)
                ),
                scheduler=asha,
                trial_dirname_creator=lambda trial: str(trial.config["number"]),
            ),
            run_config=tune.RunConfig(name="s", storage_path=storage, callbacks=[recorder]),
        ).fit()
    recorder.close()
    return stopwatch.seconds


def main(trials: str = "10000", epochs: str = "20") -> None:
    with tempfile.TemporaryDirectory() as storage:
        start = time.perf_counter()
        seconds = search(storage, int(trials), int(epochs))
        whole = time.perf_counter() - start
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
