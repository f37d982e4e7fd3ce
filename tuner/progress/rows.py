"""The rows of `runs`, `trials`, `epochs` and `usage` of a run, which this process alone writes."""

import itertools
import json
import platform
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from analysis.console import command_text
from analysis.tables.files import GrowingTable, Row
from analysis.tables.parameters import space_text, spaces_text
from analysis.tables.provenance import code_version, cpu_model, versions
from analysis.tables.ranking import STOPPED
from analysis.tables.schema import TABLES
from analysis.tables.task_columns import task_columns
from trainables.data.examples import Splits
from trainables.goal import Goal
from trainables.hyperparameters import COLUMNS, Parameter
from trainables.networks.registry import AUTO
from tuner.cluster.nodes import nodes
from tuner.settings import SearchConfig
from tuner.storage.run_storage import RunStorage
from tuner.trials.usage_samples import USAGE

CHOSEN = ("model", "loss", *COLUMNS, "parameters", "seed")  # what a proposal says of a trial
EPOCH_COLUMNS = (
    "epoch",
    "train_loss",
    "validation_loss",
    "validation_accuracy",
    "validation_cosine",
    "validation_score",
    "train_sec",
    "validation_sec",
    "images_per_sec",
)
FACTS = (
    "device",
    "precision",
    "compiled",
    "threads",
    "perceptual_batch",
    "peak_mib",
    "host",
    "start_sec",
    "reused_process",
    "damaged_checkpoint",
)
FINISHED = STOPPED | {"max_epochs", "early_stopping", "diverged"}
"""Stop reasons of trials that came to their own end."""


LEFT_EVERY_SEC = 2.0


class RunRows:
    """Trials and epochs of a run in memory, published while the search goes on."""

    def __init__(
        self,
        run: RunStorage,
        goal: Goal,
        trials: Iterable[Row] = (),
        epochs: Iterable[Row] = (),
        usage: Iterable[Row] = (),
    ) -> None:
        """Begin with the rows of earlier sessions, where there are any."""
        self._run = run
        self._goal = goal
        self._trials = GrowingTable(run.tables, "trials", run.name, trials)
        self._epochs = GrowingTable(run.tables, "epochs", run.name, epochs)
        self._usage = GrowingTable(run.tables, "usage", run.name, usage)
        self._by_number: dict[int, Row] = {}
        self._curves: dict[int, dict[int, Row]] = defaultdict(dict)
        for row in self._epochs.rows:
            self._curves[row["trial"]][row["epoch"]] = row
        for row in self._trials.rows:
            self._put(self._agreeing(row))
        self.running: set[int] = set()
        self._began: float | None = None  # of this session's first trial
        self._new_epochs = 0

    @property
    def trials(self) -> list[Row]:
        """All rows of the trials table, in the order of their numbers."""
        return sorted(self._by_number.values(), key=lambda row: int(row["trial"]))

    def trial(self, number: int) -> Row | None:
        """Return the row of a trial; None before it is started for the first time."""
        return self._by_number.get(number)

    def start(self, proposal: dict[str, Any]) -> Row:
        """Note that a trial starts, or goes on after its process died; return its row."""
        row = self._by_number.get(proposal["number"])
        if row is None:
            parameters = proposal["parameters"]
            row = {
                **dict.fromkeys(column.name for column in TABLES["trials"]),
                "run": self._run.name,
                "trial": proposal["number"],
                "repeat_of": proposal["repeat_of"],
                **{name: proposal[name] for name in CHOSEN},
                "parameters": json.dumps(parameters) if parameters else None,
                "epochs": 0,
                "train_sec": 0.0,
                "restarts": 0,
                "started_at": datetime.now(UTC),
            }
        else:
            again = {"stop_reason": None, "error": None, "ended_at": None}
            row = {**row, **again, "restarts": row["restarts"] + 1}
        self.running.add(row["trial"])
        if self._began is None:
            self._began = time.monotonic()
        return self._put(row)

    def report(self, number: int, result: dict[str, Any]) -> bool:
        """Note what a trial reports: an epoch, or why it can't go on.

        Returns:
            Whether it is an epoch that was not known yet.
        """
        row = {**self._by_number[number], **{k: result[k] for k in FACTS if k in result}}
        for sample in result.get(USAGE, ()):
            # The clocks of machines differ, the age of a sample does not
            sampled_at = datetime.now(UTC) - timedelta(seconds=sample["age_sec"])
            self._usage.put({"trial": number, "sampled_at": sampled_at, **sample})
        is_new = False
        if "train_loss" in result:
            known = self._curves[number]
            is_new = result["epoch"] not in known
            self._new_epochs += is_new
            known[result["epoch"]] = {
                "trial": number,
                "reported_at": datetime.now(UTC),
                **{name: result[name] for name in EPOCH_COLUMNS},
            }
            self._epochs.put(known[result["epoch"]])
        else:
            row["error"] = result["error"]
        if "checkpoint_path" in result:  # a worker group's callback puts it there
            row["checkpoint"] = self._run.experiment.address(result["checkpoint_path"])
        self._put(self._summed_up(row))
        return is_new

    def keep_checkpoint(self, number: int, path: str) -> None:
        """Note where a trial's newest checkpoint lies."""
        address = self._run.experiment.address(path)
        self._put({**self._by_number[number], "checkpoint": address})

    def end(self, number: int, stop_reason: str, **more: Any) -> Row:
        """Note that a trial has ended, why, and what more its row says now; return the row."""
        ended = {"stop_reason": stop_reason, "ended_at": datetime.now(UTC), **more}
        self.running.discard(number)
        return self._put({**self._by_number[number], **ended})

    def left_sec(self, samples: int) -> float | None:
        """Return about how long the trials of the search still take: as those that have ended did.

        Args:
            samples: Trials of the search.

        Returns:
            None before one has ended, before there is an epoch of this session, and once nothing
            runs but what takes longer than those that have ended, or repeats of finalists.
        """
        searched = [row for row in self._by_number.values() if row["repeat_of"] is None]
        ended = [row["epochs"] for row in searched if row["stop_reason"] is not None]
        if self._began is None or not self._new_epochs or not ended:
            return None
        usual: float = statistics.fmean(ended)
        begun = [row["epochs"] for row in searched if row["stop_reason"] is None]
        left: float = sum(max(usual - epochs, 0) for epochs in begun)
        left += usual * max(samples - len(searched), 0)
        if not left:
            return None
        return left * (time.monotonic() - self._began) / self._new_epochs

    def publish_if_due(self) -> None:
        """Write the tables unless that was a short while ago.

        A storage that fails for a while fails no trial: the rows wait in memory, and `publish`
        says so at the end.
        """
        with suppress(OSError):
            self._epochs.publish_if_due()
            self._usage.publish_if_due()
            self._trials.publish_if_due()

    def publish(self) -> None:
        """Write the tables now. Raises OSError when the storage does not take them."""
        self._epochs.publish()
        self._usage.publish()
        self._trials.publish()

    def _put(self, row: Row) -> Row:
        self._by_number[row["trial"]] = row
        self._trials.put(row)
        return row

    def _agreeing(self, row: Row) -> Row:
        """The row with what its epochs say: a killed driver may have written either table first."""
        curve = self._curves[row["trial"]]
        kept = next(epoch for epoch in itertools.count() if epoch + 1 not in curve)
        if kept < row["epochs"]:
            return {**row, "epochs": kept, "stop_reason": "interrupted"}
        return self._summed_up(row) if kept > row["epochs"] else row

    def _summed_up(self, row: Row) -> Row:
        """The row with what its epochs say: best epoch, medians, totals."""
        epochs = list(self._curves[row["trial"]].values())
        if not epochs:
            return row
        seconds = [e["train_sec"] + e["validation_sec"] for e in epochs]
        summary = {
            "epochs": max(e["epoch"] for e in epochs),
            "train_sec": sum(seconds),
            "epoch_sec": statistics.median(seconds),
            "images_per_sec": statistics.median(e["images_per_sec"] for e in epochs),
        }
        best = self._goal.best_epoch(epochs)
        if best:
            summary |= {
                "best_epoch": best["epoch"],
                "best_validation_loss": best["validation_loss"],
                "best_validation_accuracy": best["validation_accuracy"],
                "best_validation_cosine": best["validation_cosine"],
                "best_validation_score": best["validation_score"],
            }
        return {**row, **summary}


class RunRow:
    """The one row of the table `runs`, which says how far the run is."""

    def __init__(self, run: RunStorage, row: Row) -> None:
        """Begin with a row; nothing is written yet."""
        self._row = row
        self._table = GrowingTable(run.tables, "runs", run.name, [row])
        self._next = 0.0

    @property
    def left_is_due(self) -> bool:
        """Whether to say how long it takes, for callers to which that is work."""
        return time.monotonic() >= self._next

    def say(self, **columns: Any) -> None:
        """Write the row with these columns changed; what was left is no more. Raises OSError."""
        self._row = {**self._row, "left_sec": None, **columns}
        self._table.put(self._row)
        self._table.publish()

    def expect(self, left_sec: float | None) -> None:
        """Write how long the search still takes, where the storage takes it."""
        self._next = time.monotonic() + LEFT_EVERY_SEC
        self._table.put({**self._row, "left_sec": left_sec})
        with suppress(OSError):
            self._table.publish_if_due()


def runs_row(
    config: SearchConfig,
    goal: Goal,
    spaces: Mapping[str, Mapping[str, Parameter]],
    data: Splits,
    earlier: Row | None,
) -> Row:
    """Return the row of the runs table at the start of a session.

    Args:
        config: The settings, complete.
        goal: What is best.
        spaces: What each hyperparameter may be, by network.
        data: The images that are used.
        earlier: The row of the session before; what began the run stays.
    """
    up = nodes()
    commit, dirty = code_version()
    row = {
        "run": config.name,
        "status": "running",
        "phase": "searching",
        "left_sec": None,
        "model": config.model,
        **task_columns(data.task, data.probes),
        "command": command_text("tuner.run", *sys.argv[1:]),
        "config": json.dumps(config.flat()),
        "given": json.dumps(config.origins),
        "space": spaces_text(spaces) if config.model == AUTO else space_text(*spaces.values()),
        "rank_by": goal.rank_by,
        "higher_is_better": goal.higher_is_better if goal.has_score else None,
        "threshold": goal.threshold,
        "seed": config.seed,
        "started_at": datetime.now(UTC),
        "ended_at": None,
        "sessions": 1,
        "commit": commit,
        "dirty": dirty,
        "versions": json.dumps(versions()),
        "host": platform.node(),
        "cpu_model": cpu_model(),
        "cpu_count": round(sum(node.cpus for node in up)),
        "gpu_model": ", ".join(sorted({node.gpu_model for node in up if node.gpu_model})) or None,
        "gpu_count": round(sum(node.gpus for node in up)),
        "node_count": len(up),
        "memory_gib": sum(node.memory_gib for node in up),
        "data": config.source,
    }
    for examples in (data.train, data.validation, data.test):
        row[f"{examples.split}_images"] = len(examples)
        row[f"{examples.split}_fingerprint"] = examples.fingerprint
    if earlier is not None:
        kept = {name: earlier[name] for name in ("command", "config", "given", "started_at")}
        began = json.loads(earlier["config"])
        if config.samples != began["samples"]:  # all that a resumed run may change for good
            kept["config"] = json.dumps({**began, "samples": config.samples})
            kept["command"] += f"\n{row['command']}"
            if kept["given"] is not None:
                kept["given"] = json.dumps({**json.loads(kept["given"]), "samples": "flag"})
        row |= {**kept, "sessions": earlier["sessions"] + 1}
    return row
