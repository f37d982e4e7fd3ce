"""What benchmarks share: alternating rounds, medians, a table for people, one JSON line last."""

import json
import statistics
import time
from collections.abc import Callable

import torch

from analysis.tables.provenance import code_version, cpu_model, versions


def alternate(sides: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Run the sides in turn, so that a noisy machine hits them alike; returns seconds per round."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, run in sides.items():
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def report(
    name: str, seconds: dict[str, list[float]], ratios: dict[str, tuple[float, str]]
) -> None:
    """Print medians with their spread, each ratio with its goal, and all of it as one JSON line."""
    print(f"\n{name}")
    for side, times in seconds.items():
        spread = f"({min(times):.3f} to {max(times):.3f}, n = {len(times)})"
        print(f"  {side:<58} {statistics.median(times):9.3f} s   {spread}")
    for label, (value, goal) in ratios.items():
        print(f"  {label:<58} {value:9.2f}     goal: {goal}")
    line = {
        "benchmark": name,
        "seconds": seconds,
        "ratios": {
            label: {"value": value, "goal": goal} for label, (value, goal) in ratios.items()
        },
        "cpu": cpu_model(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "commit": code_version()[0],
        "versions": versions(),
    }
    print(json.dumps(line))


def ratio(seconds: dict[str, list[float]], over: str, under: str) -> float:
    """Return the median over rounds of one side's seconds by the other's, paired within a round."""
    return statistics.median(a / b for a, b in zip(seconds[over], seconds[under], strict=True))
