"""A search of 16 FC trials × 5 epochs on 8,192 images: ours, Ray's tutorial's, and a plain loop.

    python -m benchmarks.bench_search [DATA] [ROUNDS]

Whole processes, from the command line to the exit, in turn. Nothing is stopped early on any side.
Ours also writes checkpoints and tables and evaluates finalists; the plain loop does nothing but
train.
"""

import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd

from benchmarks.common import alternate, ratio, report

IMAGES, TRIALS, EPOCHS = 8192, 16, 5
ROOT = Path(__file__).parents[1]


def run(*arguments: str) -> None:
    subprocess.run([sys.executable, *arguments], cwd=ROOT, check=True, capture_output=True)


def main(data: str = "photos", rounds: str = "3") -> None:
    counts = [str(n) for n in (IMAGES, TRIALS, EPOCHS)]
    with tempfile.TemporaryDirectory() as storage:
        search = ["--images", counts[0], "--samples", counts[1], "--max-epochs", counts[2]]
        fixed = ["--grace-epochs", counts[2], "--patience", counts[2], counts[2], "--data", data]

        def ours() -> None:
            run(
                "-m",
                "tuner.run",
                "--model",
                "fc",
                *search,
                *fixed,
                "--timing",
                "none",
                "--storage",
                storage,
            )

        def tutorial() -> None:
            run("-m", "benchmarks.tutorial", data, *counts, storage + "/tutorial")

        def plain() -> None:
            run("-m", "benchmarks.plain_loop", data, *counts)

        plain()  # decodes the images into the cache
        seconds = alternate(
            {"ours": ours, "Ray's tutorial way": tutorial, "plain loop": plain}, int(rounds)
        )
        trials = pd.read_parquet(Path(storage) / "tables" / "trials")
    start = float(trials[trials.reused_process].start_sec.median())
    excess = statistics.median(
        o - 1.3 * p for o, p in zip(seconds["ours"], seconds["plain loop"], strict=True)
    )
    report(
        "Search",
        seconds,
        {
            "tutorial by ours": (ratio(seconds, "Ray's tutorial way", "ours"), "at least 5"),
            "ours minus 1.3 × plain loop, s": (excess, "at most 12"),
            "median start of a trial on a reused process, s": (start, "at most 0.5"),
        },
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
