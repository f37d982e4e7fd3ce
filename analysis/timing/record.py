"""Rows of the tables `timings` and `cards`, and the study's five numbers beside them."""

import json
import platform
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime

from analysis.tables.files import Row
from analysis.tables.provenance import code_version, cpu_model, versions
from analysis.timing import machine
from analysis.timing.limits import IMAGE_BYTES, Card, Rates, limit_sec
from analysis.timing.subjects import Subject
from analysis.timing.worker import Pass, SeriesPlan, SubjectCheck

STUDY_IMAGES = 10_000
SUBJECT_COLUMNS = ("kind", "model", "trial", "engine", "precision", "device")
STUDY_SEC = {  # by the reference study: subject, its model here, device → seconds for all images
    ("study: transforms image by image", None, "cpu"): 0.754,
    ("study: fc", "fc", "cuda"): 0.140,
    ("study: fc", "fc", "cpu"): 0.131,
    ("study: cnn", "cnn", "cuda"): 0.587,
    ("study: cnn", "cnn", "cpu"): 2.90,
}


@dataclass
class Series:
    """One subject at one batch size, and what was measured of it up to now.

    Attributes:
        fault: Why it ended before its last pass.
    """

    subject: Subject
    batch_size: int
    checked: SubjectCheck
    plan: SeriesPlan
    rates: Rates
    passes: list[Pass] = field(default_factory=list)
    fault: str = ""


def session_facts(threads: int, seed: int) -> Row:
    """Return the columns that are the same in every row of a session."""
    commit, dirty = code_version()
    return {
        "threads": threads,
        "cores": machine.cores(),
        "cpu_model": cpu_model(),
        "versions": json.dumps(versions()),
        "commit": commit,
        "dirty": dirty,
        "host": platform.node(),
        "seed": seed,
    }


def timing_row(series: Series, number: int, measured: Pass) -> Row:
    """Return the row of one pass: of its load, what is left of the raw counts."""
    subject, checked, plan = series.subject, series.checked, series.plan
    columns = asdict(measured)
    columns["other_load"] = columns.pop("other_busy_sec") / columns.pop("turn_sec")
    return {
        "subject": subject.name,
        **{name: getattr(subject, name) for name in SUBJECT_COLUMNS},
        "memory_format": checked.memory_format,
        "gpu_model": checked.gpu_model,
        "driver": checked.driver,
        "batch_size": series.batch_size,
        "pass": number,
        "images": plan.images,
        "repeats": plan.repeats,
        "warm_up_passes": plan.warm_up_passes,
        "settled": plan.settled,
        "first_call_sec": plan.first_call_sec,
        "limit_sec": limit_sec(checked.card, series.rates, plan.images),
        **asdict(series.rates),
        "max_difference": checked.max_difference,
        "compared_with": "its eager float32 output"
        if subject.is_network
        else "the pipeline in float32",
        "share_95": checked.share_95,
        "share_99": checked.share_99,
        **columns,
        "energy_j": plan.energy_j,
        "power_w": plan.power_w,
        "measured_at": datetime.now(UTC),
    }


def card_row(subject: Subject, card: Card) -> Row:
    """Return the row of a subject with weights in the table `cards`."""
    return {"subject": subject.name, "bytes_per_image": IMAGE_BYTES, **asdict(card)}


def study_rows() -> list[Row]:
    """Return the reference study's numbers, each the whole of what is known of it."""
    return [
        {
            "subject": name,
            "kind": "study",
            "model": model,
            "engine": "study",
            "device": device,
            "images": STUDY_IMAGES,
            "end_to_end_sec": sec,
            "reason": "quoted; hardware and what the time includes are not known in detail",
        }
        for (name, model, device), sec in STUDY_SEC.items()
    ]
