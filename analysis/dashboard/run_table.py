"""What is said of runs: their table, and what one is doing."""

import json
from typing import Any

import pandas as pd

from analysis.dashboard.address import Address
from analysis.dashboard.blocks import Column, Table, number
from analysis.dashboard.snapshot import Store
from analysis.tables.ranking import ranked_frame, with_rules
from analysis.wording import duration, state_of_run
from trainables.thresholds import percent

QUIET_SEC = 300.0  # trials write every few seconds, accuracies of slow networks take minutes
SEARCHED = ("run", "status", "model", "pipeline", "data_name", "cpu_model", "commit", "command")
"""The columns in which the table of runs is searched for a text."""


def doing(run: Any, trials: int, quiet_sec: float) -> str:
    """Say what a run is doing: `searching, 5 of 12 trials, about 1:40 left`, or `finished`.

    Args:
        run: Its row of `runs`.
        trials: How many of its search have begun.
        quiet_sec: For how long it has written nothing: a killed run can't say that it is over.
    """
    phase = run["phase"] if isinstance(run["phase"], str) else None  # a frame's null is NaN
    said = [state_of_run(run["status"], phase)]
    if run["status"] != "running":
        return said[0]
    asked = json.loads(run["config"]).get("samples")
    said.append(f"{trials} of {asked} trials" if asked else f"{trials} trials")
    if quiet_sec > QUIET_SEC:
        said.append(f"but it has written nothing for {duration(quiet_sec)}: it may be over")
    elif run["left_sec"] is not None and run["left_sec"] == run["left_sec"]:
        said.append(f"about {duration(run['left_sec'])} left")
    return ", ".join(said)


def table(store: Store, runs: pd.DataFrame, trials: pd.DataFrame, address: Address) -> Table:
    """Return the table of runs.

    Args:
        store: The tables.
        runs: Rows of `runs`, the newest first, with `task_name` and `data_name`.
        trials: Rows of `trials` of all of them.
        address: Of the page that shows it; its `q` is a text to search for.
    """
    wanted = address.one("q").strip().lower()
    if wanted:
        texts = runs[[*SEARCHED]].fillna("").astype(str).agg(" ".join, axis=1).str.lower()
        runs = runs[texts.str.contains(wanted, regex=False)]
    searched = trials[trials.repeat_of.isna()]
    begun = searched.groupby("run", observed=True).size()
    best = ranked_frame(with_rules(searched.astype({"run": str}), runs)).drop_duplicates("run")
    accuracy = best.set_index("run").best_validation_accuracy
    counts = runs.run.map(begun).fillna(0).astype(int)
    shown = runs.assign(
        doing=[
            doing(run, count, store.quiet_sec(run["run"]))
            for run, count in zip(runs.to_dict("records"), counts, strict=True)
        ],
        trials=counts,
        best=runs.run.map(accuracy).astype(float),
        duration_sec=(runs.ended_at - runs.started_at).dt.total_seconds(),
        short_commit=runs.commit.str[:7],
    )
    return Table(
        "All runs",
        f"{len(shown):,} runs, the newest first, or by the column whose head you click. Tick runs "
        "to see their searches on one page.",
        "all-runs",
        shown,
        [
            Column("run", "Run", link=lambda row: address.to_run(row["run"])),
            Column("task_name", "Pipeline"),
            Column("model", "Network"),
            Column("doing", "Status"),
            number("trials", "Trials", ",d"),
            number("best", "Best", percent, help="validation images at its cosine threshold"),
            Column("data_name", "Data"),
            Column("started_at", "Started (UTC)", lambda at: f"{at:%Y-%m-%d %H:%M}"),
            number("duration_sec", "Took", duration),
            Column("cpu_model", "Processor"),
            Column("gpu_model", "GPU"),
            Column("short_commit", "Commit"),
        ],
        address,
        picks=("run", lambda row: str(row["run"]), address.root + "search", "Search of the ticked"),
        search=address.one("q"),
    )
