"""Runs as a search leaves them, made up in milliseconds, with any number of trials."""

import io
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from PIL import Image

from analysis.charts.labels import labelled
from analysis.quality.spread import wilson
from analysis.tables.files import publish, read
from analysis.tables.parameters import space_text, spaces_text
from analysis.tables.schema import TABLES, arrow_schema
from analysis.tables.task_columns import task_columns
from analysis.timing.timing_rows import study_rows
from tests.analysis.timing.session_rows import series_rows, torchvision
from trainables.hyperparameters import COLUMNS, Parameter
from trainables.networks.base import space_of
from trainables.networks.registry import AUTO, find
from trainables.tasks import STUDY
from tuner.trials.space import Space

START = datetime(2026, 1, 1, tzinfo=UTC)
THRESHOLDS = (0.8, 0.85, 0.9, 0.95, 0.97, 0.98, 0.99, 0.995, 0.999)
FLOORS = {"flat image": 0.33, "mean image": 0.35, "pipeline without flips": 0.13}
SPACE = {
    "learning_rate": Parameter(1e-5, 1e-1, log=True),
    "dropout": Parameter(0.0, 0.5),
    "patience": Parameter(2, 10),
}
AUTO_NETWORKS = ("fc", "cnn", "kron")
ENDINGS = ("max_epochs", "asha", "asha", "early_stopping")

PROBES = bytes(64 * 784 * 4)
TWO_LOSSES = json.dumps({"model": "fc", "loss": "mse,perceptual"})
"""Settings."""


def make_run(
    storage: Path,
    name: str = "fc-1",
    *,
    trials: int = 24,
    epochs: int = 6,
    tested: bool = True,
    **facts: Any,
) -> None:
    """Publish all tables of a run; `facts` are columns of its row in `runs`, `loss` and `day`."""
    loss, day = facts.pop("loss", "mse"), facts.pop("day", 0)
    run = run_row(name, day) | facts
    tables = storage / "tables"
    publish(tables, "runs", name, [run])
    made = trial_frame(run, trials, epochs, loss)
    put(tables, "trials", name, made)
    put(tables, "epochs", name, epoch_frame(made, epochs))
    put(tables, "usage", name, usage_frame(made))
    if tested:
        publish(tables, "scores", name, score_rows(run, made))
        publish(tables, "samples", name, sample_rows(name, made))
        publish(tables, "timings", name, timing_rows(name))


def make_run_of_two_losses(storage: Path, name: str = "r") -> None:
    """Four trials: 0 is the most accurate of `mse`, 3 of `perceptual`; others have lower losses."""
    run = run_row(name) | {"config": TWO_LOSSES}
    make_run(storage, name, trials=4, epochs=2, config=TWO_LOSSES)
    trials = trial_frame(run, 4, 2).assign(
        loss=["mse", "mse", "perceptual", "perceptual"],
        best_validation_loss=[0.4, 0.1, 0.2, 0.3],
        best_validation_accuracy=[0.6, 0.5, 0.8, 0.9],
    )
    put(storage / "tables", "trials", name, trials)
    publish(storage / "tables", "scores", name, score_rows(run, trials, finalists=4))
    publish(storage / "tables", "samples", name, sample_rows(name, trials, finalists=4))


def make_auto_run(storage: Path, name: str = "auto-1", trials: int = 6) -> None:
    """A search of several networks that take turns; the first trial of each is its best.

    The best of all is trial 2, of kron. Hyperparameters are as those networks draw them.
    """
    spaces = {model: Space(space_of(find(model))) for model in AUTO_NETWORKS}
    facts = {
        "model": AUTO,
        "config": json.dumps({"model": AUTO, "loss": "mse"}),
        "space": spaces_text({model: space.parameters for model, space in spaces.items()}),
    }
    make_run(storage, name, trials=trials, epochs=2, **facts)
    run = run_row(name) | facts
    made = trial_frame(run, trials, 2)
    models = [AUTO_NETWORKS[number % len(AUTO_NETWORKS)] for number in range(trials)]
    drawn = [spaces[model].draw(0, number) for number, model in enumerate(models)]
    made = made.assign(
        model=models,
        parameters=[json.dumps(one["parameters"]) for one in drawn],
        best_validation_loss=np.where(
            made.trial < len(AUTO_NETWORKS), 3e-3 - 1e-3 * made.trial, made.best_validation_loss
        ),
        **{column: [one[column] for one in drawn] for column in COLUMNS},
    )
    put(storage / "tables", "trials", name, made)
    publish(storage / "tables", "scores", name, score_rows(run, made))
    publish(storage / "tables", "samples", name, sample_rows(name, made))


def run_row(name: str, day: int = 0) -> dict[str, Any]:
    """One row of `runs`."""
    row: dict[str, Any] = dict.fromkeys(column.name for column in TABLES["runs"])
    started = START + timedelta(days=day)
    row |= {
        "run": name,
        "status": "finished",
        "model": "fc",
        "seed": 0,
        "sessions": 1,
    }
    row |= task_columns(STUDY, PROBES) | {"rank_by": "loss", "threshold": 0.95}
    row |= {
        "command": "python -m tuner.run --model fc",
        "config": json.dumps({"model": "fc"}),
        "space": space_text(SPACE),
        "versions": "{}",
    }
    row |= {
        "started_at": started,
        "ended_at": started + timedelta(hours=1),
        "host": "node",
        "cpu_model": "AMD EPYC",
    }
    row |= {"cpu_count": 2, "gpu_count": 0, "node_count": 1, "memory_gib": 16.0, "data": "cifar10"}
    for split, count in (("train", 45_000), ("validation", 5_000), ("test", 10_000)):
        row |= {f"{split}_images": count, f"{split}_fingerprint": f"{split}-pixels"}
    return row


def trial_frame(run: dict[str, Any], trials: int, epochs: int, loss: str = "mse") -> pd.DataFrame:
    """Rows of `trials`: the loss grows with the rate's distance from 1e-3, and with dropout."""
    luck = np.random.default_rng(run["seed"])
    number = np.arange(trials, dtype=np.int32)
    rate, dropout = 10 ** luck.uniform(-5, -1, trials), luck.uniform(0, 0.5, trials)
    ending = np.array(ENDINGS)[number % len(ENDINGS)]
    best = 0.004 * (1 + (np.log10(rate) + 3) ** 2 + dropout / 4) * luck.uniform(0.9, 1.1, trials)
    starts = pd.to_datetime(
        [run["started_at"] + timedelta(seconds=30 * int(n)) for n in number], utc=True
    )
    return filled(
        "trials",
        {
            "run": run["run"],
            "trial": number,
            "model": run["model"],
            "loss": loss,
            "learning_rate": rate,
            "dropout": dropout,
            "patience": luck.integers(2, 11, trials),
            "seed": luck.integers(0, 2**31, trials),
            "stop_reason": ending,
            "epochs": np.where(ending == "asha", max(epochs // 2, 1), epochs),
            "best_epoch": 1,
            "best_validation_loss": best,
            "best_validation_accuracy": np.clip(1 - 8 * best, 0, 1),
            "best_validation_cosine": np.clip(1 - best, 0, 1),
            "train_sec": 60.0,
            "epoch_sec": 60.0 / epochs,
            "images_per_sec": 20_000.0,
            "peak_mib": 400.0,
            "device": "cpu",
            "precision": "float32",
            "compiled": False,
            "threads": 1,
            "host": "node",
            "restarts": 0,
            "started_at": starts,
            "ended_at": starts + timedelta(seconds=60),
            "checkpoint": "/storage/checkpoint_000001",
        },
    )


def epoch_frame(trials: pd.DataFrame, epochs: int) -> pd.DataFrame:
    """The rows of `epochs`: curves that fall to each trial's best loss."""
    counts = trials.epochs.to_numpy()
    trial = np.repeat(trials.trial.to_numpy(), counts)
    epoch = (
        np.concatenate([np.arange(1, count + 1) for count in counts])
        if len(counts)
        else np.array([], int)
    )
    loss = np.repeat(trials.best_validation_loss.fillna(0.1).to_numpy(), counts) * (1 + 3 / epoch)
    return filled(
        "epochs",
        {
            "run": trials.run.iloc[0] if len(trials) else "",
            "trial": trial,
            "epoch": epoch,
            "train_loss": 1.2 * loss,
            "validation_loss": loss,
            "validation_accuracy": np.clip(1 - 8 * loss, 0, 1),
            "validation_cosine": 0.99,
            "train_sec": 1.0,
            "validation_sec": 0.1,
            "images_per_sec": 20_000.0,
            "reported_at": pd.Timestamp(START),
        },
    )


def usage_frame(trials: pd.DataFrame, samples: int = 5) -> pd.DataFrame:
    """The rows of `usage`: as many a trial, ten seconds apart, each busier than the one before."""
    number = np.tile(np.arange(samples), len(trials))
    at = trials.started_at.repeat(samples).reset_index(drop=True)
    return filled(
        "usage",
        {
            "run": trials.run.iloc[0] if len(trials) else "",
            "trial": np.repeat(trials.trial.to_numpy(), samples),
            "sampled_at": at + pd.to_timedelta(10 * (number + 1), unit="s"),
            "cpu_cores": 1 - 0.5 ** (number + 1),
            "memory_mib": 300.0 + 10 * number,
        },
    )


def score_rows(
    run: dict[str, Any], trials: pd.DataFrame, finalists: int = 3
) -> list[dict[str, Any]]:
    """Finalists, floors and ceiling: cosine accuracies by threshold, and the metrics' means."""
    best = trials.sort_values("best_validation_loss").trial.head(finalists).tolist()
    subjects = [(f"trial {n}", "trial", n, 0.99) for n in best]
    subjects += [(floor, "floor", None, share) for floor, share in FLOORS.items()]
    subjects.append(("pipeline's own matrix", "ceiling", None, 1.0))
    rows = []
    for name, kind, trial, at_95 in subjects:
        scores = [("cosine", t, min(1.0, max(0.0, at_95 - 3 * (t - 0.95)))) for t in THRESHOLDS]
        scores += [("cosine", None, at_95), ("mse", None, 0.004), ("psnr", None, 24.0)]
        for metric, threshold, value in (*scores, ("ssim", None, 0.8)):
            low, high = (None, None) if threshold is None else wilson(value, 10_000)
            about = {"run": run["run"], "subject": name, "kind": kind, "trial": trial}
            about |= {"repeat_of": None, "parameters": 494_480 if kind == "trial" else None}
            about |= {"split": "test", "images": 10_000, "metric": metric, "threshold": threshold}
            about |= {"value": value, "low": low, "high": high, "mean": value}
            trainings = 3 if kind == "trial" else 1
            rows.append(about | {"trainings": trainings, "sd": 0.01 if trainings > 1 else None})
    return rows


def sample_rows(
    name: str, trials: pd.DataFrame, finalists: int = 3, images: int = 24
) -> list[dict[str, Any]]:
    """Images of the finalists; image i has rank i."""
    best = trials.sort_values("best_validation_loss").trial.head(finalists).tolist()
    return [
        {
            "run": name,
            "subject": f"trial {trial}",
            "trial": trial,
            "image": i,
            "cosine": 0.9 + i / 1000,
            "rank": i,
        }
        | {"input": png(32, i), "truth": png(28, i), "output": png(28, i + 5)}
        for trial in best
        for i in range(images)
    ]


def timing_rows(name: str, session: int = 1, **facts: Any) -> list[dict[str, Any]]:
    """One measurement on a CPU: torchvision, a finalist and separable, and the study's numbers."""
    luck = np.random.default_rng(session)
    about = {
        "run": name,
        "session": session,
        "cpu_model": "AMD EPYC",
        "host": "node",
        "versions": "{}",
        **facts,
    }
    rows = [
        row | about
        for row in (dict.fromkeys(c.name for c in TABLES["timings"]) | row for row in study_rows())
    ]
    for size in (1, 64, 1000):
        rows += torchvision(size, 300 / size**0.4 * luck.uniform(0.985, 1.015, 10), **about)
        for subject, us, more in (
            (
                "trial 0",
                180,
                {"kind": "trial", "model": "fc", "trial": 0, "share_95": 0.99, "share_99": 0.8},
            ),
            (
                "separable",
                100,
                {"model": "separable", "share_95": 1.0, "share_99": 1.0, "verdict": "rough"},
            ),
        ):
            rows += series_rows(
                subject, size, us / size**0.45 * luck.uniform(0.985, 1.015, 10), **(more | about)
            )
    return rows


@cache
def png(side: int, brightness: int) -> bytes:
    """A plain image."""
    buffer = io.BytesIO()
    Image.new(
        "RGB" if side == 32 else "L",
        (side, side),
        (brightness * 5,) * 3 if side == 32 else brightness * 5,
    ).save(buffer, "PNG")
    return buffer.getvalue()


def searched(
    losses: Sequence[float | None], run: str = "fc-1", model: str = "fc", **columns: Any
) -> pd.DataFrame:
    """Trials of one run with these losses, labelled; `columns` replace whole columns."""
    facts = run_row(run) | {"model": model}
    if isinstance(columns.get("loss"), list):
        facts["config"] = TWO_LOSSES
    frame = trial_frame(facts, len(losses), 3).assign(best_validation_loss=list(losses), **columns)
    return labelled(as_read("trials", frame), as_read("runs", [facts]))


def as_read(table: str, rows: pd.DataFrame | list[dict[str, Any]]) -> pd.DataFrame:
    """Rows as a reader of the table's file has them, and the run's name as text."""
    schema = arrow_schema(table)
    if isinstance(rows, list):
        content = pa.Table.from_pylist([dict.fromkeys(schema.names) | row for row in rows], schema)
    else:
        content = pa.Table.from_pandas(rows, schema, preserve_index=False)
    return content.to_pandas().astype({"run": str})


def change(storage: Path, table: str, run: str = "fc-1", **columns: Any) -> None:
    """Replace whole columns of a run's table."""
    tables = storage / "tables"
    put(tables, table, run, read(tables, table, run).assign(**columns))


def filled(table: str, columns: dict[str, Any]) -> pd.DataFrame:
    """A data frame with all columns of the table, null where nothing is given."""
    frame = pd.DataFrame(columns)
    return frame.reindex(columns=[column.name for column in TABLES[table]])


def put(tables: Path, table: str, run: str, frame: pd.DataFrame) -> None:
    """Publish a data frame as a run's table."""
    publish(
        tables, table, run, pa.Table.from_pandas(frame, arrow_schema(table), preserve_index=False)
    )
