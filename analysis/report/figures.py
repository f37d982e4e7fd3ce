"""The figures of a report, each with its caption."""

from dataclasses import dataclass

import altair as alt
import pandas as pd

from analysis import views
from analysis.charts import quality, search, speed, trials
from analysis.importance import importances
from analysis.timing import comparison

COLUMNS = 7


@dataclass(frozen=True)
class Figure:
    """A chart, and what a reader has to know of it."""

    chart: alt.Chart | alt.LayerChart
    title: str
    caption: str


@dataclass(frozen=True)
class Tables:
    """A run's tables as data frames, its trials with `series`, and one measurement of its timings."""

    trials: pd.DataFrame
    epochs: pd.DataFrame
    accuracy: pd.DataFrame
    samples: pd.DataFrame
    timings: pd.DataFrame
    passes: pd.DataFrame
    series: pd.DataFrame


def figures(run: str, tables: Tables) -> dict[str, Figure]:
    """Every figure for which the run has numbers, by the name of its file."""
    best = views.bests(tables.trials)
    found: dict[str, Figure] = {}
    if not best.empty:
        found |= _learning(tables, best)
    if not tables.accuracy.empty:
        found |= _quality(run, tables, best)
    if not best.empty:
        found |= _search(tables)
    for device in dict.fromkeys(tables.series.device) if len(tables.series) else ():
        found |= _speed(tables, device)
    return found


def _learning(tables: Tables, best: pd.DataFrame) -> dict[str, Figure]:
    first = best.iloc[0]
    mine = tables.epochs[tables.epochs.trial == first.trial]
    caption = (
        f"Loss of trial {first.trial} on training and validation images; dashed: the epoch whose weights are kept."
    )
    curves = tables.epochs.merge(tables.trials[["run", "trial", "series"]], on=["run", "trial"])
    every = f"Validation loss of all {curves.trial.nunique()} trials; the best stands out, its training loss dashed."
    return {
        "loss": Figure(trials.training(mine, first.best_epoch), "Loss of the best trial", caption),
        "curves": Figure(trials.curves(curves, best), "Loss of every trial", every),
    }


def _quality(run: str, tables: Tables, best: pd.DataFrame) -> dict[str, Figure]:
    networks = views.accuracy_of(tables.accuracy, best)
    baselines = views.baselines_of(tables.accuracy, run)
    images = f"{tables.accuracy.images.max():,}"
    found = {
        "thresholds": Figure(
            quality.thresholds(networks, baselines),
            "Accuracy by threshold",
            f"Share of the {images} test images that reach each cosine similarity, beside floors and ceiling.",
        )
    }
    if not tables.samples.empty:
        for order, which in (("spread", "evenly spread over"), ("worst", "the worst of the best trial among")):
            cells, rows = views.image_grid(
                tables.samples, best, order, best.series.iloc[0], COLUMNS, difference=order == "worst"
            )
            caption = (
                f"Input, pipeline and output of the best trial: {COLUMNS} images, {which} the {images} test images."
            )
            caption += (
                " Difference: red where the network is too bright, blue where too dark." if order == "worst" else ""
            )
            found[f"images-{order}"] = Figure(quality.images(cells, rows), f"Images, {order}", caption)
    return found


def _search(tables: Tables) -> dict[str, Figure]:
    count = f"{len(tables.trials)} trials"
    found = {
        "history": Figure(
            search.history(tables.trials, views.best_so_far(tables.trials)),
            "Search history",
            f"Lowest validation loss of each of {count} in their order; the steps are the best so far.",
        ),
        "parallel": Figure(search.parallel(tables.trials), "Parallel coordinates", f"One line a trial, {count}."),
    }
    shares = importances(tables.trials)
    if not shares.empty:
        caption = f"Share of the variance of the loss that each explains (fANOVA, {shares.trials.max()} trials)."
        found["importance"] = Figure(search.importance(shares), "Hyperparameter importance", caption)
    return found


def _speed(tables: Tables, device: str) -> dict[str, Figure]:
    here = tables.series[tables.series.device == device]
    measured = views.measured(here, "end_to_end")
    passes = f"{here.passes.max()} passes"
    name = {"cpu": "CPU", "cuda": "GPU"}.get(device, device)
    found = {
        f"times-{device}": Figure(
            speed.times(measured, views.study_marks(tables.timings, device)),
            f"Time an image, {name}",
            f"End to end: median of {passes}, bars the quartiles; dashed the study's numbers, on its own machine.",
        )
    }
    bests = comparison.best(here)
    bests = views.measured(bests.assign(unbeaten=comparison.pareto(bests)), "end_to_end").dropna(subset="share_95")
    if not bests.empty:
        caption = "Each subject at its best batch size; the line joins those that no other beats at both."
        found[f"pareto-{device}"] = Figure(speed.pareto(bests), f"Quality and speed, {name}", caption)
    return found
