"""A run as release 0.1.0 left it: files of schema version 4."""

import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tests.analysis.made_runs import (
    FLOORS,
    THRESHOLDS,
    epoch_frame,
    run_row,
    sample_rows,
    timing_rows,
    trial_frame,
)

TYPES = {
    "text": pa.string(),
    "int32": pa.int32(),
    "int64": pa.int64(),
    "float64": pa.float64(),
    "bool": pa.bool_(),
    "time": pa.timestamp("us", tz="UTC"),
    "bytes": pa.binary(),
    "name": pa.dictionary(pa.int32(), pa.string()),
}
COLUMNS = {  # as analysis/tables/schema.py of that version had them
    "runs": """run name, status text, model text, pipeline text, command text, config text,
        seed int64, started_at time, ended_at time, sessions int32, commit text, dirty bool,
        versions text, host text, cpu_model text, cpu_count int32, gpu_model text, gpu_count int32,
        node_count int32, memory_gib float64, data text, train_images int64,
        validation_images int64, test_images int64, train_fingerprint text,
        validation_fingerprint text, test_fingerprint text""",
    "trials": """run name, trial int32, confirms int32, model text, loss text,
        learning_rate float64, dropout float64, patience int32, seed int64, stop_reason text,
        error text, epochs int32, best_epoch int32, best_validation_loss float64,
        best_validation_accuracy float64, best_validation_cosine float64, start_sec float64,
        reused_process bool, train_sec float64, epoch_sec float64, images_per_sec float64,
        peak_mib float64, device text, precision text, compiled bool, threads int32,
        perceptual_batch int32, host text, restarts int32, started_at time, ended_at time,
        checkpoint text, damaged_checkpoint text""",
    "epochs": """run name, trial int32, epoch int32, train_loss float64, validation_loss float64,
        validation_accuracy float64, validation_cosine float64, train_sec float64,
        validation_sec float64, images_per_sec float64, reported_at time""",
    "accuracy": """run name, subject text, kind text, trial int32, confirms int32,
        parameters int64, split text, images int64, threshold float64, share float64,
        trainings int32, share_mean float64, share_std float64, cosine_mean float64, mse float64,
        psnr_db float64, ssim float64""",
    "samples": """run name, subject text, trial int32, image int32, cosine float64, rank int32,
        input bytes, truth bytes, output bytes""",
    "timings": """run name, session int32, subject text, kind text, model text, trial int32,
        engine text, precision text, memory_format text, device text, batch_size int32, pass int32,
        images int64, device_sec float64, end_to_end_sec float64, repeats int32,
        warm_up_passes int32, settled bool, first_call_sec float64, limit_sec float64,
        matrix_gflops float64, bandwidth_gb_per_sec float64, max_difference float64,
        compared_with text, share_95 float64, share_99 float64, verdict text, reason text,
        other_load float64, throttled bool, device_gaps bool, gpu_processes int32,
        cpu_clock_mhz float64, gpu_clock_mhz float64, energy_j float64, power_w float64,
        peak_mib float64, threads int32, cores int32, cpu_model text, gpu_model text, driver text,
        versions text, commit text, dirty bool, host text, seed int64, measured_at time""",
    "cards": """run name, subject text, parameters int64, flops_per_image int64,
        bytes_per_image int64, weight_bytes int64, receptive_height int32, receptive_width int32""",
}
CONFIG = {"model": "fc", "learning_rate": [1e-5, 0.1], "dropout": None, "patience": None}
CARD = {"subject": "trial 0", "parameters": 494_480, "flops_per_image": 987_136}
CARD |= {"bytes_per_image": 6_208, "weight_bytes": 1_977_920}
CARD |= {"receptive_height": 32, "receptive_width": 32}


def write_version_4(storage: Path, run: str = "fc-1", **accuracy: Any) -> None:
    """Write all tables of a run with 24 trials; `accuracy` are columns of all rows of that."""
    facts = run_row(run) | {"pipeline": "reference", "config": json.dumps(CONFIG)}
    trials = trial_frame(facts, 24, 6)
    rows = {
        "runs": [facts],
        "trials": [row | {"confirms": None} for row in plain(trials)],
        "epochs": plain(epoch_frame(trials, 6)),
        "accuracy": [row | accuracy for row in accuracy_rows(run)],
        "samples": sample_rows(run, trials),
        "timings": [former_timing(row) for row in timing_rows(run)],
        "cards": [CARD | {"run": run}],
    }
    for table, content in rows.items():
        path = storage / f"tables/{table}/run={run}/{table}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(table, content))


def former_timing(row: dict[str, Any]) -> dict[str, Any]:
    """A turn as the pass that it would have been."""
    verdict = "warning" if row["verdict"] == "rough" else row["verdict"]
    return row | {"pass": row["turn"], "repeats": 1, "settled": True, "verdict": verdict}


def encoded(table: str, rows: list[dict[str, Any]]) -> bytes:
    """A file of that version: without a seal."""
    columns = [column.split() for column in COLUMNS[table].split(",")]
    fields = [pa.field(name, TYPES[kind]) for name, kind in columns]
    schema = pa.schema(fields, {"table": table, "schema_version": "4"})
    only = [{name: row.get(name) for name in schema.names} for row in rows]
    file = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(only, schema), file, compression="snappy")
    return file.getvalue()


def accuracy_rows(run: str) -> list[dict[str, Any]]:
    """A finalist, its repeat with another seed, floors and the ceiling."""
    subjects = [("trial 0", "trial", 0, None, 0.99), ("trial 24", "trial", 24, 0, 0.97)]
    subjects += [(floor, "floor", None, None, share) for floor, share in FLOORS.items()]
    subjects.append(("pipeline's own matrix", "ceiling", None, None, 1.0))
    rows = []
    for subject, kind, trial, confirms, at_95 in subjects:
        for threshold in THRESHOLDS:
            share = min(1.0, max(0.0, at_95 - 3 * (threshold - 0.95)))
            row = {"run": run, "subject": subject, "kind": kind, "trial": trial}
            row |= {"confirms": confirms, "parameters": 494_480 if kind == "trial" else None}
            row |= {"split": "test", "images": 10_000, "threshold": threshold, "share": share}
            row |= {"trainings": 1, "share_mean": share, "share_std": None}
            row |= {"cosine_mean": at_95, "mse": 0.004, "psnr_db": 24.0, "ssim": 0.8}
            rows.append(row)
    return rows


def plain(frame: Any) -> list[dict[str, Any]]:
    """Rows of a data frame with None for what is missing."""
    rows: list[dict[str, Any]] = frame.astype(object).where(frame.notna(), None).to_dict("records")
    return rows
