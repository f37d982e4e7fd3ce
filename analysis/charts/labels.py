"""What may stand on one axis: names of data sets and machines, and a series for each kind that must not be pooled."""

from collections import Counter
from pathlib import PurePath
from typing import Any

import pandas as pd

from analysis.tables.ranking import NEVER_BEST

SHORT = 6  # digits of a fingerprint that tell two data sets of one name apart


def data_names(runs: pd.DataFrame, split: str = "validation") -> pd.Series:
    """A name for the images of a split, by run: the same name exactly where the pixels are the same.

    `cifar10`; where sets of that name differ, `cifar10, 5,000 images`, and where that is not enough either, with
    the start of their fingerprint.
    """
    prints = list(
        zip(runs[f"{split}_fingerprint"].astype(str), runs.pipeline.astype(str), strict=True)
    )
    counts = dict(zip(prints, runs[f"{split}_images"], strict=True))
    names: dict[tuple[str, str], str] = {}
    for pixels, data in zip(prints, runs.data.astype(str), strict=True):
        names.setdefault(pixels, PurePath(data).name or data)
    for told in ("{count:,} images", "{fingerprint}, {pipeline}"):
        sharing = Counter(names.values())
        for pixels, name in names.items():
            if sharing[name] > 1:
                fingerprint, pipeline = pixels
                more = told.format(
                    count=counts[pixels], fingerprint=fingerprint[:SHORT], pipeline=pipeline
                )
                names[pixels] = f"{name}, {more}"
    return pd.Series(
        [names[pixels] for pixels in prints], runs.run.astype(str).to_numpy(), dtype=object
    )


def labelled(trials: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """The trials of the search, repeats of finalists left out, with columns `data_name`, `series`, `ending`, `state`.

    Trials of one `series` have the same network, loss, training and validation images, so that their losses compare.
    """
    shown = trials[trials.repeat_of.isna()].copy()
    shown["run"] = shown.run.astype(str)
    shown["data_name"] = shown.run.map(data_names(runs)).astype(object).fillna("unknown data")
    shown["series"] = _network(shown.model, shown.loss) + _where_several(shown.data_name)
    training = (
        shown.run.map(_training_images(runs)).astype(object).fillna("unknown images to train on")
    )
    ambiguous = training.groupby(shown.series).transform("nunique") > 1
    shown["series"] = shown.series.where(~ambiguous, shown.series + ", " + training)
    shown["ending"] = shown.stop_reason.fillna("running").astype(str)
    shown["state"] = shown.ending.map({ending: _state(ending) for ending in shown.ending.unique()})
    return shown


def machines(timings: pd.DataFrame) -> pd.DataFrame:
    """One row per measurement (run and session), newest first, with its `label`, `hardware` and `measured_at`."""
    passes = timings[timings["pass"].notna()]
    passes = passes.assign(run=passes.run.astype(str))
    found = passes.groupby(["run", "session"], sort=False).agg(
        measured_at=("measured_at", "max"), cpu=("cpu_model", "first"), threads=("threads", "first"),
        gpu=("gpu_model", "first"), host=("host", "first"),
    )  # fmt: skip
    found = found.reset_index().sort_values(
        ["measured_at", "run"], ascending=False, ignore_index=True
    )
    found["hardware"] = pd.Series(
        [_hardware(row.cpu, row.threads, row.gpu) for row in found.itertuples()], dtype=str
    )
    moments = found.measured_at.dt.strftime("%Y-%m-%d %H:%M")
    found["label"] = found.run + " · " + moments + " · " + found.hardware
    twice = found.label.duplicated(keep=False)
    found["label"] = found.label.where(
        ~twice, found.label + " · session " + found.session.astype(str)
    )
    return found


def _network(models: pd.Series, losses: pd.Series) -> pd.Series:
    """`cnn`; `cnn, perceptual` for another loss than the mean squared error, and beside that `cnn, mse`.

    Of a class path its class if unique.
    """
    classes = {model: model.rpartition(":")[2] for model in models.astype(str).unique()}
    sharing = Counter(classes.values())
    names = {model: name if sharing[name] == 1 else model for model, name in classes.items()}
    plain = (losses == "mse") & (losses.groupby(models.astype(str)).transform("nunique") == 1)
    return models.astype(str).map(names).astype(object) + (", " + losses.astype(object)).where(
        ~plain, ""
    )


def _training_images(runs: pd.DataFrame) -> dict[str, str]:
    """By run how many images trained, with the start of their fingerprint where two sets have one size."""
    prints = dict(zip(runs.train_fingerprint.astype(str), runs.train_images, strict=True))
    sharing = Counter(prints.values())
    names = {
        pixels: f"{count:,} to train on" + (f" ({pixels[:SHORT]})" if sharing[count] > 1 else "")
        for pixels, count in prints.items()
    }
    return dict(
        zip(runs.run.astype(str), runs.train_fingerprint.astype(str).map(names), strict=True)
    )


def _where_several(names: pd.Series) -> pd.Series | str:
    return " on " + names if names.nunique() > 1 else ""


def _state(ending: str) -> str:
    if ending in NEVER_BEST:
        return "failed"
    return {"asha": "ASHA", "running": ending, "interrupted": ending}.get(ending, "finished")


def _hardware(cpu: Any, threads: Any, gpu: Any) -> str:
    processor = f"{cpu}, {threads:.0f} threads" if pd.notna(threads) else str(cpu)
    return f"{processor}, {gpu}" if pd.notna(gpu) else processor
