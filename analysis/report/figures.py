"""The figures of a report, each with its caption."""

from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass

import altair as alt
import pandas as pd

from analysis.charts import quality, search, speed, trials, views
from trainables.thresholds import STRICT_THRESHOLD, THRESHOLD

COLUMNS = 7
DRAWN = 200  # trials in a chart


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


def figures(
    run: str, tables: Tables, shares: Future[pd.DataFrame] | None
) -> Iterator[tuple[str, Figure]]:
    """Every figure for which the run has numbers, with the name of its file; `shares` are of `importances`."""
    best = views.bests(tables.trials)
    if not best.empty:
        yield from _learning(tables, best).items()
    if not tables.accuracy.empty:
        yield from _quality(run, tables).items()
    for device in dict.fromkeys(tables.series.device) if len(tables.series) else ():
        yield from _speed(tables, device).items()
    if not best.empty:
        yield from _search(tables)
    if shares:
        yield from _importance(shares.result())


def _learning(tables: Tables, best: pd.DataFrame) -> dict[str, Figure]:
    first = best.iloc[0]
    mine = tables.epochs[tables.epochs.trial == first.trial]
    caption = f"Loss of trial {first.trial} on training and validation images; dashed: the epoch whose weights are kept."
    drawn = views.foremost(tables.trials[tables.trials.epochs > 0], views.CURVES)
    curves = tables.epochs.merge(drawn[["run", "trial", "series"]], on=["run", "trial"])
    count = curves.trial.nunique()
    every = (
        f"Validation loss of the {count} best of {len(tables.trials)} trials"
        if count < len(tables.trials)
        else f"Validation loss of {count} trials"
    )
    every += "; the best stands out, its training loss dashed." + _apart(tables)
    return {
        "loss": Figure(trials.training(mine, first.best_epoch), "Loss of the best trial", caption),
        "curves": Figure(trials.curves(curves, best), "Loss of every trial", every),
    }


def _quality(run: str, tables: Tables) -> dict[str, Figure]:
    measured = tables.accuracy.trial[tables.accuracy.kind == "trial"]
    among = tables.trials.trial.isin(measured)  # a resumed search may have a better one since
    best = views.bests(tables.trials, among)
    networks = views.accuracy_of(tables.accuracy, best)
    if networks.empty:
        return {}
    baselines = views.baselines_of(tables.accuracy, run)
    images = f"{tables.accuracy.images.max():,}"
    found = {
        "thresholds": Figure(
            quality.thresholds(networks, baselines),
            "Accuracy by threshold",
            f"Share of the {images} test images that reach each cosine similarity, beside floors and ceiling.",
        )
    }
    kept = tables.samples[tables.samples.trial.isin(best.trial)]
    if kept.empty:
        return found
    which = (
        f"the {images} test images"
        if kept["rank"].notna().any()
        else f"the {kept.image.nunique()} that were kept"
    )
    worst = f"the worst of {which}" + (f" for {_named(best[:1])}" if len(best) > 1 else "")
    first = best.series.iloc[0]
    shown = best.sort_values(
        "loss"
    )  # the mean squared error above the perceptual loss, as the study has them
    for order, chosen in (("spread", f"spread over the {images} test images"), ("worst", worst)):
        cells, rows = views.image_grid(
            kept, shown, order, first, COLUMNS, difference=order == "worst"
        )
        caption = f"Input, pipeline and output of {_named(shown)}: {cells.column.nunique()} images, {chosen}."
        caption += (
            " Difference: red where the network is too bright, blue where too dark."
            if order == "worst"
            else ""
        )
        found[f"images-{order}"] = Figure(quality.images(cells, rows), f"Images, {order}", caption)
    return found


def _named(best: pd.DataFrame) -> str:
    """`trial 3`, or with several series `trial 3 (fc, mse) and trial 4 (fc, perceptual)`."""
    if len(best) == 1:
        return f"trial {best.trial.iloc[0]}"
    return " and ".join(f"trial {one.trial} ({one.series})" for one in best.itertuples())


def _search(tables: Tables) -> Iterator[tuple[str, Figure]]:
    drawn = views.foremost(tables.trials, DRAWN)
    every = f"{len(tables.trials)} trials"
    count = every if len(drawn) == len(tables.trials) else f"the {len(drawn)} best of {every}"
    caption = f"Lowest validation loss of each of {count} in their order; the steps are the best so far.{_apart(tables)}"
    yield (
        "history",
        Figure(search.history(drawn, views.best_so_far(tables.trials)), "Search history", caption),
    )
    yield (
        "parallel",
        Figure(search.parallel(drawn), "Parallel coordinates", f"One line a trial, {count}."),
    )


def _apart(tables: Tables) -> str:
    return " Losses of different kinds do not compare." if tables.trials.loss.nunique() > 1 else ""


def _importance(shares: pd.DataFrame) -> Iterator[tuple[str, Figure]]:
    if not shares.empty:
        caption = f"fANOVA: share of the variance of a forest fitted to log loss of {shares.trials.max()} trials, each alone."
        yield "importance", Figure(search.importance(shares), "Hyperparameter importance", caption)


def _speed(tables: Tables, device: str) -> dict[str, Figure]:
    here = tables.series[tables.series.device == device]
    measured = views.measured(here, "end_to_end")
    passes = f"{here.passes.max()} passes"
    name = views.DEVICES[device]
    found = {
        f"times-{device}": Figure(
            speed.times(measured, views.study_marks(tables.timings, device)),
            f"Time an image, {name}",
            f"End to end: median of {passes}, bars the quartiles; dashed the study's numbers, on its own machine.",
        )
    }
    bests = views.fronted(here)
    if not bests.empty:
        caption = (
            "Each at its best batch size; on the line: not beaten at "
            f"≥ {THRESHOLD}, ≥ {STRICT_THRESHOLD} and time together."
        )
        found[f"pareto-{device}"] = Figure(
            speed.pareto(bests), f"Quality and speed, {name}", caption
        )
    return found
