"""From the command to its first trial, and from its last trial to the prompt.

    python -m benchmarks.bench_start [DATA] [ROUNDS]

Whole processes in turn: a search of two trials of one epoch, and what anybody pays who uses PyTorch
and Ray: `import torch, ray; ray.init()`.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.common import ratio, report

ROOT = Path(__file__).parents[1]
PLAIN = "import torch, ray; ray.init()"
MOMENTS = {  # what the first line that holds it tells
    "first line": "training, ",
    "first trial starts": " starts ",
    "best trial is told": "Best: trial",
}


def search(data: str, storage: str) -> dict[str, float]:
    """Run a search; return the seconds from its start to each of its moments, and the last two."""
    arguments = ["--model", "separable", "--samples", "2", "--max-epochs", "1", "--timing", "none"]
    began = time.monotonic()
    moments = {}
    with subprocess.Popen(
        [sys.executable, "-u", "-m", "tuner.run", *arguments, "--data", data, "--storage", storage],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        for line in process.stdout or ():
            now = time.monotonic() - began
            for name, part in MOMENTS.items():
                if part in line:
                    moments.setdefault(name, now)
            if line.startswith("trial") and " after " in line:
                moments["last trial ends"] = now
    moments["prompt"] = time.monotonic() - began
    return moments


def main(data: str = "photos", rounds: str = "3") -> None:
    taken: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as storage:
        search(data, storage)  # decodes the images into the cache
        for _ in range(int(rounds)):
            began = time.monotonic()
            subprocess.run([sys.executable, "-c", PLAIN], check=True, capture_output=True)
            taken.setdefault(PLAIN, []).append(time.monotonic() - began)
            for name, sec in search(data, storage).items():
                taken.setdefault(name, []).append(sec)
    after = [p - e for p, e in zip(taken["prompt"], taken["last trial ends"], strict=True)]
    report(
        "Start",
        taken,
        {
            "first trial by the plain start": (
                ratio(taken, "first trial starts", PLAIN),
                "at most 0.95",
            ),
            "last trial to the prompt, s": (statistics.median(after), "at most 2 on 16 cores"),
        },
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
