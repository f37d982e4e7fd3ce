"""The rows of the tables `timings` and `cards`, made of what was measured."""

import json
import platform
from collections.abc import Sequence
from dataclasses import asdict

import numpy as np

from analysis.tables.files import Row
from analysis.tables.provenance import code_version, cpu_model, versions
from analysis.timing import machine
from analysis.timing.limits import Card, image_bytes, limit_sec
from analysis.timing.protocol import TAIL_CALLS
from analysis.timing.series import Series, TakenTurn
from analysis.timing.subjects import Subject

STUDY_IMAGES = 10_000
SUBJECT_COLUMNS = ("kind", "model", "trial", "engine", "precision", "device", "environment")
STUDY_SEC = {  # by the reference study: subject, its model here, device → seconds for all images
    ("study: transforms image by image", None, "cpu"): 0.754,
    ("study: fc", "fc", "cuda"): 0.140,
    ("study: fc", "fc", "cpu"): 0.131,
    ("study: cnn", "cnn", "cuda"): 0.587,
    ("study: cnn", "cnn", "cpu"): 2.90,
}


def session_facts(seed: int) -> Row:
    """Return the columns that are the same in every row of a session."""
    commit, dirty = code_version()
    return {
        "cores": machine.cores(),
        "cpu_model": cpu_model(),
        "versions": json.dumps(versions()),
        "commit": commit,
        "dirty": dirty,
        "host": platform.node(),
        "seed": seed,
    }


def timing_row(series: Series) -> Row:
    """Return the row of a series' last turn."""
    subject, checked, plan, taken = series.subject, series.checked, series.plan, series.turns[-1]
    turn = asdict(taken.turn)
    del turn["cpu_sec"], turn["single_sec"]  # these make columns of the rotation and the series
    return {
        "subject": subject.name,
        **{name: getattr(subject, name) for name in SUBJECT_COLUMNS},
        "memory_format": checked.memory_format,
        "gpu_model": checked.gpu_model,
        "driver": checked.driver,
        "batch_size": series.batch_size,
        "turn": len(series.turns),
        "process": taken.process,
        "images": series.images,
        "threads": series.threads,
        "first_call_sec": plan.first_call_sec,
        "bus_sec": plan.bus_sec,
        "limit_sec": limit_sec(checked.card, series.rates, series.images, _image_bytes(subject)),
        **asdict(series.rates),
        "max_difference": checked.max_difference,
        "compared_with": "its eager float32 output"
        if subject.is_network
        else "the pipeline in float32",
        "share_95": checked.share_95,
        "share_99": checked.share_99,
        **turn,
        **asdict(series.circumstances[-1]),
        "other_load": taken.other_load,
        "disturbed": taken.disturbed,
        "energy_j": plan.energy_j,
        "power_w": plan.power_w,
    }


def single_calls(turns: Sequence[TakenTurn]) -> Row:
    """Return what single images took in all turns, as services ask: quantiles of the calls.

    The 99 % quantile needs TAIL_CALLS calls.
    """
    each = [one.turn.single_sec for one in turns if one.turn.single_sec is not None]
    if not each:
        return {}
    calls = np.concatenate(each)
    p50, p90, p99 = (float(np.quantile(calls, q)) for q in (0.5, 0.9, 0.99))
    tail = p99 if len(calls) >= TAIL_CALLS else None
    return {"calls": len(calls), "p50_sec": p50, "p90_sec": p90, "p99_sec": tail}


def card_row(subject: Subject, card: Card) -> Row:
    """Return the row of a subject with weights in the table `cards`."""
    return {"subject": subject.name, "bytes_per_image": _image_bytes(subject), **asdict(card)}


def _image_bytes(subject: Subject) -> int:
    return image_bytes(subject.task.input_shape, subject.task.output_shape)


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
