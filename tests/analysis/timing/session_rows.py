"""Rows of the timings table as a session leaves them, from the numbers that a test is about."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd

from analysis.tables.files import Row
from analysis.tables.schema import TABLES
from analysis.timing import comparison
from analysis.timing.timing_rows import study_rows

COLUMNS = [column.name for column in TABLES["timings"]]
SAME = {
    "run": "r",
    "session": 1,
    "kind": "untrained",
    "engine": "eager",
    "precision": "float32",
    "memory_format": "contiguous",
    "device": "cpu",
    "environment": "steady",
    "images": 1_000_000,
    "first_call_sec": 0.5,
    "limit_sec": 0.5,
    "matrix_gflops": 100.0,
    "bandwidth_gb_per_sec": 10.0,
    "max_difference": 1e-6,
    "compared_with": "its eager float32 output",
    "share_95": 0.5,
    "share_99": 0.25,
    "verdict": "valid",
    "reason": "",
    "other_load": 0.0,
    "disturbed": False,
    "throttled": False,
    "device_gaps": False,
    "gpu_processes": 0,
    "peak_mib": 100.0,
    "threads": 2,
    "cores": 2,
    "seed": 0,
}
BEGAN = datetime(2026, 1, 2, tzinfo=UTC)


def series_rows(subject: str, batch_size: int, us: Sequence[float], **more: Any) -> list[Row]:
    """One series: end-to-end times of turns in µs an image; the device's times are half of them.

    Each turn is by a process of its own, and all turns of the same number are at the same moment. A
    pass has a million images, so that µs an image are seconds a pass too.
    """
    rows = []
    for number, time in enumerate(us, start=1):
        row = SAME | {"subject": subject, "batch_size": batch_size}
        row |= {"turn": number, "process": number, "measured_at": BEGAN + timedelta(0, number)}
        row |= more
        row |= {
            "end_to_end_sec": time * row["images"] / 1e6,
            "device_sec": time * row["images"] / 2e6,
        }
        row = dict.fromkeys(COLUMNS) | row
        assert list(row) == COLUMNS, "only what the table has"
        rows.append(row)
    return rows


def torchvision(batch_size: int, us: Sequence[float], **more: Any) -> list[Row]:
    """A series of the pipeline, in uint8 unless told otherwise."""
    facts = {
        "kind": "pipeline",
        "engine": "torchvision",
        "precision": "uint8",
        "share_95": 1.0,
        "share_99": 1.0,
    }
    return series_rows(more.pop("subject", "torchvision uint8"), batch_size, us, **(facts | more))


def quoted(session: int = 1) -> list[Row]:
    """The study's rows, as the table holds them."""
    return [dict.fromkeys(COLUMNS) | {"run": "r", "session": session} | row for row in study_rows()]


def compared(rows: Sequence[Row]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The turns and the series of these rows."""
    turns = comparison.turns(pd.DataFrame(rows))
    return turns, comparison.summary(turns)
