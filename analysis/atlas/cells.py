"""A row for each pipeline and network of any runs: grade, accuracies beside floors, speed.

cells = best_of(storage, ["atlas-small-blur", "atlas-small-median"])
cells[cells.answer.isin(["exact", "good"])].groupby("network").pipeline.nunique()
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.answer import IN_A_WORD, answer, times_as_fast
from analysis.charts.labels import task_names
from analysis.tables.files import Row, read, rows_of
from analysis.tables.ranking import goal_of, has_mixed_losses, ranked
from analysis.tables.scored import Scores, by_subject
from analysis.timing import comparison
from analysis.timing.protocol import INVALID, ROUGH
from analysis.wording import UNKNOWN, interval, number, percent_with_interval
from trainables.pipelines.catalogue import OLDER_NAMES, PIPELINES
from trainables.tasks import RECORDED
from trainables.thresholds import STRICT_THRESHOLD, THRESHOLD, percent

DEVICES = ("cpu", "cuda")
WAYS = ("batched", "single")
SCORES: dict[str, tuple[str, float | None]] = {
    "share_95": ("cosine", THRESHOLD),
    "share_99": ("cosine", STRICT_THRESHOLD),
    "psnr_db": ("psnr", None),
}
"""Columns of scores, and where they stand among those of a subject."""
RATIOS = {
    "cpu_batched": "× as fast in batches, CPU",
    "cpu_single": "singly, CPU",
    "cuda_batched": "× as fast in batches, GPU",
    "cuda_single": "singly, GPU",
}
"""Columns of times as fast as the pipeline, and what stands above them."""
HEADS = (
    *("pipeline", "kind", "data", "network", "answer"),
    *(f"≥ {THRESHOLD:g}", f"≥ {STRICT_THRESHOLD:g}", "PSNR, dB"),
    *(f"best floor ≥ {STRICT_THRESHOLD:g}", "ceiling", "parameters"),
)
FROM_RUN = ("cpu_model", "cpu_count", "gpu_model", "commit", "versions")
"""Columns of `runs` that every cell has."""
COLUMNS = (
    *("pipeline", "kind", "task", "data", "network", "answer", "no_better_than", "run", "trial"),
    *(f"{name}{end}" for name in SCORES for end in ("", "_low", "_high", "_mean", "_sd")),
    *("trainings", "test_images"),
    *(f"{kind}_{name}" for kind in ("floor", "ceiling") for name in SCORES),
    *("parameters", "train_images", "trials", "max_epochs"),
    *(f"{name}{end}" for name in RATIOS for end in ("", "_low", "_high", "_verdict")),
    *FROM_RUN,
    "best_validation_cosine",
)
NUMBERS = [
    name
    for name in COLUMNS
    if name.startswith((*SCORES, *RATIOS, "floor", "ceiling")) and not name.endswith("_verdict")
]


def best_of(storage: Path, runs: Iterable[str]) -> pd.DataFrame:
    """Return the atlas of some runs of a storage, as `as_frame` does."""
    tables = storage / "tables"
    rows, cells = [], []
    for name in runs:
        for run in rows_of(tables, "runs", name):
            trials, scores = (rows_of(tables, table, name) for table in ("trials", "scores"))
            rows.append(run)
            cells += cells_of(run, trials, scores, read(tables, "timings", name))
    return as_frame(rows, cells)


def as_frame(runs: Sequence[Row], cells: Iterable[Row]) -> pd.DataFrame:
    """Return the best cell of each task, data set and network, in the order of the pipelines.

    Of several runs that have the same one it is that with the highest mean validation cosine, as
    everywhere where runs compare; test images choose nothing.

    Args:
        runs: Rows of `runs`.
        cells: What `cells_of` returned of each.
    """
    tasks: Mapping[Any, str] = task_names(pd.DataFrame(runs)).to_dict() if runs else {}
    found = pd.DataFrame([{**cell, "task": tasks[cell["run"]]} for cell in cells], columns=COLUMNS)
    found = found.astype(dict.fromkeys(NUMBERS, float))  # a column that is null throughout too
    order = {name: place for place, name in enumerate(PIPELINES)}
    places = found.pipeline.map(order).fillna(len(order))
    return (
        found.assign(place=places)
        .sort_values("best_validation_cosine", ascending=False, kind="stable")
        .drop_duplicates(["task", "data", "network"])
        .sort_values(["place", "task", "data", "network"], kind="stable", ignore_index=True)
        .drop(columns=["place", "best_validation_cosine"])
    )


def cells_of(
    run: Row, trials: Sequence[Row], scores: Sequence[Row], timings: pd.DataFrame
) -> list[Row]:
    """Return a row of COLUMNS, but for `task`, for each network that a run has scores of.

    Args:
        run: Its row of `runs`.
        trials: Its rows of `trials`.
        scores: Its rows of `scores`.
        timings: Its rows of `timings`.
    """
    best: dict[str, Row] = {}
    subjects = by_subject(scores)
    scored = {_any(of)["trial"]: of for of in subjects}
    for trial in ranked(trials, goal_of(run).between(has_mixed_losses(run))):
        if trial["trial"] in scored:
            best.setdefault(trial["model"], trial)
    turns, series = comparison.last_measured(timings)
    baselines = {
        f"{kind}_{name}": max(
            (of[key]["value"] for of in subjects if _any(of)["kind"] == kind and key in of),
            default=None,
        )
        for kind in ("floor", "ceiling")
        for name, key in SCORES.items()
    }
    name = OLDER_NAMES.get(run["pipeline"], str(run["pipeline"]))
    asked = json.loads(run["config"])
    answers = {model: answer(run, trial, scores, "") for model, trial in best.items()}
    return [
        {
            "pipeline": name.rpartition(":")[2],
            "kind": _kind(name),
            "data": run["data"],
            "network": model,
            "answer": IN_A_WORD[answers[model].grade],
            "no_better_than": answers[model].floor or None,
            "run": run["run"],
            "trial": trial["trial"],
            **_scores(scored[trial["trial"]]),
            **baselines,
            "train_images": run["train_images"],
            "trials": sum(row["model"] == model and row["repeat_of"] is None for row in trials),
            "max_epochs": asked.get("max_epochs"),
            **_speed(turns, series, trial["trial"]),
            **{key: run[key] for key in FROM_RUN},
            "best_validation_cosine": trial["best_validation_cosine"],
        }
        for model, trial in best.items()
    ]


def _kind(pipeline: str) -> str:
    if pipeline == RECORDED:
        return "recorded pairs"
    return str(PIPELINES[pipeline].kind) if pipeline in PIPELINES else "of your own"


def _scores(of: Scores) -> Row:
    head = _any(of)
    found: Row = {"trainings": head["trainings"], "test_images": head["images"]}
    for name, key in SCORES.items():
        row = of.get(key, {})
        found[name] = row.get("value")
        found |= {f"{name}_{end}": row.get(end) for end in ("low", "high", "mean", "sd")}
    return found | {"parameters": head["parameters"]}


def _speed(turns: pd.DataFrame, series: pd.DataFrame, trial: int) -> Row:
    """Return times as fast as the pipeline: only what is a result has a number."""
    found: Row = {}
    for device in set(series.device) & set(DEVICES) if len(series) else ():
        for way, ratio in zip(WAYS, times_as_fast(turns, series, trial, device), strict=True):
            if ratio is None:
                continue
            name = f"{device}_{way}"
            found[f"{name}_verdict"] = ratio.verdict if ratio.is_result else INVALID
            if ratio.is_result:
                found |= {name: ratio.median, f"{name}_low": ratio.low, f"{name}_high": ratio.high}
    return found


def _any(of: Scores) -> Row:
    return next(iter(of.values()))


def said(cell: Any, name: str) -> str:
    """Return a score or a ratio of a cell with its interval, as people read it.

    Args:
        cell: A row of the atlas.
        name: One of SCORES, or as in `cpu_batched`.
    """
    value, low, high = (cell[f"{name}{end}"] for end in ("", "_low", "_high"))
    if pd.isna(value):
        is_invalid = name in RATIOS and cell[f"{name}_verdict"] == INVALID
        return INVALID if is_invalid else UNKNOWN
    if pd.isna(low):
        return f"{value:.1f}" if name == "psnr_db" else percent(value)
    if name == "psnr_db":
        return f"{value:.1f} [{low:.1f}, {high:.1f}]"
    if name in SCORES:
        return percent_with_interval(value, low, high)
    rough = f" ({ROUGH})" if cell[f"{name}_verdict"] == ROUGH else ""
    return f"{number(value)} {interval(low, high)}{rough}"


def in_a_line(cell: Any) -> str:
    """Return `blur × kron: exact, 100 % [99.96, 100] at cosine ≥ 0.99, …`."""
    parts = [
        str(cell["answer"]),
        f"{said(cell, 'share_99')} at cosine ≥ {STRICT_THRESHOLD:g}",
        f"{said(cell, 'psnr_db')} dB",
    ]
    parts += [
        f"{said(cell, name)} × as fast {words}"
        for name, words in (("cpu_batched", "in batches"), ("cpu_single", "singly"))
        if pd.notna(cell[name])
    ]
    return f"{cell['pipeline']} × {cell['network']}: {', '.join(parts)}"


def markdown(cells: pd.DataFrame) -> str:
    """Return the atlas as a table in Markdown."""
    heads, *lines = as_texts(cells)
    return "".join(
        f"| {' | '.join(map(_plain, line))} |\n" for line in (heads, ["---"] * len(heads), *lines)
    )


def as_texts(cells: pd.DataFrame) -> list[list[str]]:
    """Return the atlas as people read it: the heads of its columns, then its rows."""
    lines = [[*HEADS, *(RATIOS[name] for name in timed(cells))]]
    for cell in cells.to_dict("records"):
        floor = f"{_percent(cell['floor_share_99'])}, {_decibels(cell['floor_psnr_db'])}"
        ceiling = f"{_percent(cell['ceiling_share_99'])}, {_decibels(cell['ceiling_psnr_db'])}"
        lines.append(
            [
                *(str(cell[name]) for name in ("pipeline", "kind", "data", "network", "answer")),
                *(said(cell, name) for name in SCORES),
                floor,
                ceiling,
                UNKNOWN if pd.isna(cell["parameters"]) else f"{cell['parameters']:,.0f}",
                *(said(cell, name) for name in timed(cells)),
            ]
        )
    return lines


def timed(cells: pd.DataFrame) -> list[str]:
    """Return those of RATIOS that any cell has a timing for."""
    return [name for name in RATIOS if cells[f"{name}_verdict"].notna().any()]


def _percent(fraction: float | None) -> str:
    return UNKNOWN if pd.isna(fraction) else percent(float(fraction or 0))


def _decibels(value: float | None) -> str:
    return UNKNOWN if pd.isna(value) else f"{value:.1f} dB"


def _plain(text: str) -> str:
    return re.sub(r"([|_*])", r"\\\1", text) if text != "---" else text
