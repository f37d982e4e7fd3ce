"""Collecting 1,000 runs of 100 trials × 50 epochs: ours, ours again, and pandas without checks.

    python -m benchmarks.bench_aggregate [RUNS] [ROUNDS]

Whole processes, from the command line to the exit, in turn. The runs are copies of one made-up run
under different names. Ours checks every file and flushes each to the disk; pandas joins each table
and writes it.
"""

import json
import resource
import statistics
import subprocess
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa

from analysis.tables.files import publish
from analysis.tables.schema import TABLES, Column, arrow_schema
from benchmarks.common import alternate, ratio, report

TRIALS, EPOCHS = 100, 50
ROWS = {
    "runs": 1,
    "trials": TRIALS,
    "epochs": TRIALS * EPOCHS,
    "scores": 130,
    "samples": 20,
    "timings": 500,
    "cards": 5,
}
ROOT = Path(__file__).parents[1]
PANDAS = """
import pathlib, sys
import pandas as pd
storage, out = map(pathlib.Path, sys.argv[1:])
out.mkdir(exist_ok=True)
for table in (storage / "tables").iterdir():
    frames = [pd.read_parquet(path) for path in sorted(table.glob("run=*/*.parquet"))]
    pd.concat(frames).to_parquet(out / f"{table.name}.parquet")
"""


def value(column: Column, row: int, key: bool) -> Any:
    """Something of a column's type which differs from row to row in a key."""
    kind = column.type
    if column.is_json:
        return "[]" if column.name == "steps" else "{}"
    if pa.types.is_timestamp(kind):
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=row)
    if pa.types.is_binary(kind):
        return bytes(row % 251 for _ in range(2000))
    if pa.types.is_integer(kind):
        return row
    if pa.types.is_floating(kind):
        return float(row) if key else (row * 7919 % 10_007) / 10_007
    return row % 2 == 0 if pa.types.is_boolean(kind) else f"text {row if key else row % 5}"


def made_up(table: str) -> pa.Table:
    """A run's table without its run's name."""
    columns = {c.name: c for c in TABLES[table][1:]}
    keys = ("subject",)
    rows = range(ROWS[table])
    return pa.table(
        {
            name: pa.array([value(c, row, name in keys) for row in rows], c.type)
            for name, c in columns.items()
        }
    )


def make(storage: Path, runs: int) -> None:
    for table in TABLES:
        content = made_up(table)
        if table == "epochs":
            content = content.set_column(
                0, "trial", pa.array([n // EPOCHS for n in range(ROWS[table])], pa.int32())
            )
        for number in range(runs):
            run = f"run-{number:04}"
            named = pa.array([run] * len(content)).dictionary_encode()
            of_run = pa.table([named, *content.columns], schema=arrow_schema(table))
            publish(storage / "tables", table, run, of_run)


def cost(*arguments: str) -> tuple[float, float]:
    """Run a process to its end; returns the most memory seen, in MiB, and its processor seconds."""
    peak, before = 0, resource.getrusage(resource.RUSAGE_CHILDREN)
    with subprocess.Popen(
        [sys.executable, *arguments], cwd=ROOT, stdout=subprocess.DEVNULL
    ) as process:
        watched = psutil.Process(process.pid)
        while process.poll() is None:
            try:
                peak = max(peak, watched.memory_info().rss)
                process.wait(0.05)
            except (psutil.NoSuchProcess, subprocess.TimeoutExpired):
                continue
    if process.returncode:
        raise SystemExit(f"error: {arguments} ended with {process.returncode}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return peak / 2**20, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main(runs: str = "1000", rounds: str = "3") -> None:
    with tempfile.TemporaryDirectory() as directory:
        storage = Path(directory) / "storage"
        make(storage, int(runs))
        costs: dict[str, list[tuple[float, float]]] = {"ours": [], "ours again": [], "pandas": []}

        def out(side: str) -> str:
            # Each round into a new one, then once more into that
            return f"{directory}/out-{len(costs[side])}"

        def ours(side: str = "ours") -> None:
            costs[side].append(cost("-m", "analysis.aggregate", str(storage), "--out", out(side)))

        def pandas() -> None:
            costs["pandas"].append(cost("-c", PANDAS, str(storage), f"{directory}/pandas"))

        sides = {"ours": ours, "ours again": lambda: ours("ours again"), "pandas": pandas}
        seconds = alternate(sides, int(rounds))
    print(json.dumps({side: {"peak_mib and cpu_sec": told} for side, told in costs.items()}))
    peak = {side: max(mib for mib, _ in told) for side, told in costs.items()}
    report(
        f"Collecting {int(runs):,} runs",
        seconds,
        {
            "ours, s": (statistics.median(seconds["ours"]), "below 20"),
            "ours, processor s": (
                statistics.median(sec for _, sec in costs["ours"]),
                "below 40 on 2 cores",
            ),
            "ours, largest peak in MiB": (max(peak["ours"], peak["ours again"]), "below 1,024"),
            "pandas' time by ours": (
                ratio(seconds, "pandas", "ours"),
                "above 1, although it checks nothing",
            ),
            "pandas' peak by ours": (peak["pandas"] / peak["ours"], "above 1"),
        },
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
