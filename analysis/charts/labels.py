"""What may stand on one axis: names of data sets and machines, and series never to be pooled."""

from collections import Counter
from pathlib import PurePath
from typing import Any

import pandas as pd

from analysis.tables.parameters import wide
from analysis.tables.ranking import NEVER_BEST, STOPPED, with_rules
from analysis.tables.task_columns import tasks_of
from analysis.wording import named

SHORT = 6  # digits of a fingerprint that tell two data sets of one name apart
STATES = {
    **dict.fromkeys(NEVER_BEST, "failed"),
    **dict.fromkeys(STOPPED, "stopped"),
    **{"running": "running", "interrupted": "interrupted"},
}


def data_names(runs: pd.DataFrame, split: str = "validation") -> pd.Series:
    """Return a name for the images of a split, by run: the same exactly where the pixels are.

    It is `cifar10`; where sets of that name differ, `cifar10, 5,000 images`, and where that is not
    enough either, with the start of their fingerprint.
    """
    pixels = runs[f"{split}_fingerprint"].astype(str).tolist()
    counts = dict(zip(pixels, runs[f"{split}_images"], strict=True))
    names: dict[str, str] = {}
    for key, data in zip(pixels, runs.data.astype(str), strict=True):
        names.setdefault(key, PurePath(data).name or data)
    for more in ("{count:,} images", "{fingerprint}"):
        sharing = Counter(names.values())
        for key, name in names.items():
            if sharing[name] > 1:
                apart = more.format(count=counts[key], fingerprint=key[:SHORT])
                names[key] = f"{name}, {apart}"
    return pd.Series([names[key] for key in pixels], runs.run.astype(str), dtype=object)


def task_names(runs: pd.DataFrame) -> pd.Series:
    """Return a name for what the networks of each run do, by run: the same exactly where it is.

    It is `preprocess` for `my_transforms.py:preprocess`; where tasks share that, the whole name,
    with sizes if there are several, and a number where the code was changed in between.
    """
    keys = tasks_of(runs.to_dict("records"))
    names = {key: key.pipeline.rpartition(":")[2] for key in keys.values()}
    for more in ("{0}", "{0}, {1}", "{0}, {1}, version {2}"):
        sharing = Counter(names.values())
        for key, name in names.items():
            if sharing[name] > 1:
                names[key] = more.format(*key)
    of_runs = [names[keys[run]] for run in runs.run.astype(str)]
    return pd.Series(of_runs, runs.run.astype(str), dtype=object)


def labelled(trials: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """Return the trials of searches, without repeats of finalists, as charts take them.

    Trials of one `series` have the same task, network, loss, training and validation images, so
    that their losses compare.

    Returns:
        The rows as `wide` returns them, with the columns `data_name`, `task_name`, `series`,
        `ending` (as people read it), `state`, the run's `rank_by` and `threshold`, and those of
        `with_rules` beside their own.
    """
    shown = with_rules(wide(trials[trials.repeat_of.isna()].astype({"run": str}), runs), runs)
    for column in ("rank_by", "threshold"):
        shown[column] = shown.run.map(dict(zip(runs.run.astype(str), runs[column], strict=True)))
    shown["data_name"] = shown.run.map(data_names(runs)).astype(object).fillna("unknown data")
    shown["series"] = _network(shown.model, shown.loss)
    if shown.data_name.nunique() > 1:
        shown["series"] += " on " + shown.data_name
    tasks = shown.run.map(task_names(runs)).astype(object).fillna("an unknown pipeline")
    shown["task_name"] = tasks
    if tasks.nunique() > 1:
        shown["series"] += " for " + tasks
    training = shown.run.map(_training_images(runs)).astype(object)
    training = training.fillna("unknown images to train on")
    ambiguous = training.groupby(shown.series).transform("nunique") > 1
    shown["series"] = shown.series.where(~ambiguous, shown.series + ", " + training)
    reasons = shown.stop_reason.fillna("running").astype(str)
    shown["ending"] = reasons.map(named)
    shown["state"] = reasons.map(lambda reason: STATES.get(reason, "finished"))
    return shown


def accuracy_label(trials: pd.DataFrame) -> str:
    """Name the validation accuracy of trials that `labelled` returned: `Cosine ≥ 0.95`."""
    thresholds = trials.threshold.unique()
    return f"Cosine ≥ {thresholds[0]:g}" if len(thresholds) == 1 else "Cosine ≥ threshold"


def score_label(trials: pd.DataFrame) -> str:
    """Name the metric that trials which `labelled` returned are ranked by: `Mean psnr`.

    It is `Score` where there are several of them, and empty where there is none.
    """
    metrics = trials.rank_by[trials.best_validation_score.notna()].unique()
    if len(metrics) > 1:
        return "Score"
    return f"Mean {metrics[0]}" if len(metrics) else ""


def machines(timings: pd.DataFrame) -> pd.DataFrame:
    """Return one row per measurement (run and session), the newest first.

    Returns:
        `run`, `session`, `measured_at`, `hardware`, `label` and what they are made of.
    """
    turns = timings[timings.turn.notna()].astype({"run": str})
    found = turns.groupby(["run", "session"], sort=False).agg(
        measured_at=("measured_at", "max"),
        cpu=("cpu_model", "first"),
        threads=("threads", "max"),
        gpu=("gpu_model", "first"),
        host=("host", "first"),
    )
    found = found.reset_index().sort_values(
        ["measured_at", "run"], ascending=False, ignore_index=True
    )
    found["hardware"] = pd.Series(
        [_hardware(row.cpu, row.threads, row.gpu) for row in found.itertuples()], dtype=str
    )
    found["label"] = (
        found.run + " · " + found.measured_at.dt.strftime("%Y-%m-%d %H:%M") + " · " + found.hardware
    )
    twice = found.label.duplicated(keep=False)
    found["label"] = found.label.where(
        ~twice, found.label + " · session " + found.session.astype(str)
    )
    return found


def _network(models: pd.Series, losses: pd.Series) -> pd.Series:
    """Name networks: `cnn`, or `cnn, perceptual` for another loss than the mean squared error.

    Where a network was trained with both, also `cnn, mse`. A class path is its class if unique.
    """
    models = models.astype(str)
    classes = {model: model.rpartition(":")[2] for model in models.unique()}
    sharing = Counter(classes.values())
    names = {model: name if sharing[name] == 1 else model for model, name in classes.items()}
    plain = (losses == "mse") & (losses.groupby(models).transform("nunique") == 1)
    return models.map(names).astype(object) + (", " + losses.astype(object)).where(~plain, "")


def _training_images(runs: pd.DataFrame) -> dict[str, str]:
    """Say by run how many images trained; sets of one size have the start of their fingerprint."""
    counts = dict(zip(runs.train_fingerprint.astype(str), runs.train_images, strict=True))
    sharing = Counter(counts.values())
    names = {}
    for run, fingerprint in zip(runs.run.astype(str), runs.train_fingerprint, strict=True):
        count = counts[str(fingerprint)]
        names[run] = f"{count:,} to train on"
        if sharing[count] > 1:
            names[run] += f" ({str(fingerprint)[:SHORT]})"
    return names


def _hardware(cpu: Any, threads: Any, gpu: Any) -> str:
    processor = f"{cpu}, {threads:.0f} threads" if pd.notna(threads) else str(cpu)
    return f"{processor}, {gpu}" if pd.notna(gpu) else processor
