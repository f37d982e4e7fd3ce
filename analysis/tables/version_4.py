"""Tables of schema version 4, as release 0.1.0 wrote them: what they hold, read as version 5.

That version knew one pipeline, the study's. Of its table `accuracy`, which had four metrics in each
row of a threshold, the table `scores` is made.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from math import isfinite
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from analysis.quality.spread import over_trainings, wilson
from analysis.tables import schema
from analysis.tables.parameters import space_text
from analysis.tables.schema import BOOL, FLOAT, INT32, RUN, Column, fraction, nullable
from analysis.tables.task_columns import task_columns
from trainables.hyperparameters import COLUMNS, KNOWN, Parameter
from trainables.pipelines import identity
from trainables.tasks import STUDY
from trainables.thresholds import THRESHOLD

VERSION = 4
FORMER_NAMES = {"scores": "accuracy"}
"""What tables of today were called."""
NAMES = {
    "runs": "run status model pipeline command config seed started_at ended_at sessions commit "
    "dirty versions host cpu_model cpu_count gpu_model gpu_count node_count memory_gib data "
    "train_images validation_images test_images train_fingerprint validation_fingerprint "
    "test_fingerprint",
    "trials": "run trial confirms model loss learning_rate dropout patience seed stop_reason error "
    "epochs best_epoch best_validation_loss best_validation_accuracy best_validation_cosine "
    "start_sec reused_process train_sec epoch_sec images_per_sec peak_mib device precision "
    "compiled threads perceptual_batch host restarts started_at ended_at checkpoint "
    "damaged_checkpoint",
    "epochs": "run trial epoch train_loss validation_loss validation_accuracy validation_cosine "
    "train_sec validation_sec images_per_sec reported_at",
    "samples": "run subject trial image cosine rank input truth output",
    "timings": "run session subject kind model trial engine precision memory_format device "
    "batch_size pass images device_sec end_to_end_sec repeats warm_up_passes settled "
    "first_call_sec limit_sec matrix_gflops bandwidth_gb_per_sec max_difference compared_with "
    "share_95 share_99 verdict reason other_load throttled device_gaps gpu_processes cpu_clock_mhz "
    "gpu_clock_mhz energy_j power_w peak_mib threads cores cpu_model gpu_model driver versions "
    "commit dirty host seed measured_at",
    "cards": "run subject parameters flops_per_image bytes_per_image weight_bytes receptive_height "
    "receptive_width",
}
"""Columns that are called today as they were, and FORMER_COLUMNS."""
FORMER_COLUMNS = {
    one.name: one
    for one in (
        nullable("confirms", INT32, "the finalist that this trial trains again, another seed"),
        nullable("pass", INT32, "from 1; those of the same number were measured in one round"),
        nullable("repeats", INT32, "passes timed as one, so that the clock costs below 0.1 %"),
        nullable("warm_up_passes", INT32, "untimed passes before the first"),
        nullable("settled", BOOL, "whether the last three of them agreed within 5 %"),
    )
}
ACCURACY = (
    RUN,
    *(schema.column("scores", name) for name in ("subject", "kind", "trial")),
    FORMER_COLUMNS["confirms"],
    *(schema.column("scores", name) for name in ("parameters", "split", "images")),
    Column("threshold", FLOAT, "cosine similarity to reach"),
    fraction("share", meaning="fraction of the images that reach it"),
    Column("trainings", INT32, "for a finalist: it and its repeats; for the rest 1"),
    fraction("share_mean", meaning="mean of that fraction over those trainings"),
    fraction("share_std", meaning="their standard deviation (n − 1)", nullable=True),
    Column("cosine_mean", FLOAT, "mean cosine similarity"),
    Column("mse", FLOAT, "mean squared error"),
    Column("psnr_db", FLOAT, "mean peak signal-to-noise ratio", "dB"),
    Column("ssim", FLOAT, "mean structural similarity"),
)
MEANS = {"cosine": "cosine_mean", "mse": "mse", "psnr": "psnr_db", "ssim": "ssim"}
TABLES: Mapping[str, tuple[Column, ...]] = {
    "scores": ACCURACY,
    **{
        table: tuple(
            FORMER_COLUMNS.get(name) or schema.column(table, name) for name in names.split()
        )
        for table, names in NAMES.items()
    },
}
"""Columns by what their tables are called today."""
KEYS = {
    **schema.KEYS,
    "scores": ("subject", "split", "threshold"),
    "timings": ("session", "subject", "device", "batch_size", "pass"),
}

# What networks searched unless the command line said otherwise
NETWORKS: Mapping[str, Mapping[str, tuple[float, float]]] = {
    "fc": {"learning_rate": (1e-4, 1e-2), "dropout": (0.0, 0.5)},
    "cnn": {"learning_rate": (1e-4, 1e-2), "dropout": (0.0, 0.5)},
    "separable": {"learning_rate": (1e-3, 1e-1)},
}
PATIENCE = (2, 10)
TODAY = {"confirms": ("repeat_of",), "pass": ("turn", "process")}
"""What holds today what a former column held. Of a pass nothing else is known: it counts as a
process of its own."""


def names_of(table: str) -> tuple[str, ...]:
    """Return what a table's files may be called, today's name last."""
    return (FORMER_NAMES[table], table) if table in FORMER_NAMES else (table,)


@cache
def arrow_schema(table: str) -> pa.Schema:
    """Return the Arrow schema that a table had, by its name of today."""
    fields = [pa.field(column.name, column.type) for column in TABLES[table]]
    named = FORMER_NAMES.get(table, table)
    return pa.schema(fields, {"table": named, "schema_version": str(VERSION)})


def wrote(found: pa.Schema) -> bool:
    """Return whether a file with this schema says that it is of version 4."""
    return (found.metadata or {}).get(b"schema_version") == str(VERSION).encode()


def wrote_file(path: Path) -> bool:
    """Return whether a parquet file says that it is of version 4."""
    return wrote(pq.read_schema(path))


def upgraded(content: pa.Table, table: str) -> pa.Table:
    """Return rows of version 4 as today's.

    Args:
        content: Rows with the columns of TABLES, each of them sound.
        table: Its name of today.

    Raises:
        ValueError, TypeError, ArithmeticError: A text or number describes nothing that a run had.
    """
    wanted = schema.arrow_schema(table)
    if table == "scores":
        return pa.Table.from_pylist(over_trainings(_scores(content.to_pylist())), wanted)
    if table == "runs":
        rows = [dict.fromkeys(wanted.names) | row | _of_run(row) for row in content.to_pylist()]
        return pa.Table.from_pylist(rows, wanted)
    known = dict(zip(content.column_names, content.columns, strict=True))
    for former, names in TODAY.items():
        known |= {name: known[former] for name in names if former in known}
    if "verdict" in known:
        known["verdict"] = pc.replace_substring(known["verdict"], "warning", "rough")
    columns = [
        known[field.name] if field.name in known else pa.nulls(len(content), field.type)
        for field in wanted
    ]
    return pa.table(columns, wanted)


def _of_run(row: dict[str, Any]) -> dict[str, Any]:
    """Return what a row of runs did not say: its task, its space, and how it was ranked."""
    config = json.loads(row["config"])
    usual = {**NETWORKS.get(row["model"], {}), "patience": PATIENCE}
    space = {}
    for name in COLUMNS:
        ends = config.get(name) or usual.get(name)
        if ends is not None:  # a network of a person's own says it in its code only
            low, high = map(KNOWN[name].kind, ends)
            space[name] = Parameter(low, high, log=name == "learning_rate")
    return {
        **task_columns(STUDY, _probes()),
        "space": space_text(space),
        "rank_by": "loss",
        "threshold": THRESHOLD,
    }


@cache
def _probes() -> bytes:
    """Return what is kept of the study's outputs on the probe images."""
    from trainables.pipelines.study import reference  # here, since it imports PyTorch

    return identity.kept(reference(identity.probe_images(STUDY.input_shape)))


def _scores(accuracies: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield a row for each threshold, and before the first of a subject each metric's mean."""
    seen = set()
    for row in accuracies:
        same = ("run", "subject", "kind", "trial", "parameters", "split", "images")
        common = {name: row[name] for name in same}
        common |= {"repeat_of": row["confirms"], "low": None, "high": None}
        if (row["subject"], row["split"]) not in seen:
            seen.add((row["subject"], row["split"]))
            for metric, column in MEANS.items():
                if isfinite(row[column]):
                    yield common | {"metric": metric, "threshold": None, "value": row[column]}
        low, high = wilson(row["share"], row["images"])
        yield common | {
            "metric": "cosine",
            "threshold": row["threshold"],
            "value": row["share"],
            "low": low,
            "high": high,
        }
