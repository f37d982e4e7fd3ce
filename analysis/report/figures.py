"""The figures of a report, each with its caption."""

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial

import altair as alt
import pandas as pd

from analysis.charts import quality, search, speed, trials, views
from analysis.report.results import with_psnr
from analysis.timing import comparison
from trainables.hyperparameters import Parameter
from trainables.thresholds import STRICT_THRESHOLD, THRESHOLD

COLUMNS = 7
DRAWN = 200  # trials in a chart


@dataclass(frozen=True)
class Figure:
    """A chart, and what a reader has to know of it.

    Attributes:
        name: Its files', without an ending.
        chart: Makes it. Raises NothingToDrawError.
    """

    name: str
    chart: Callable[[], alt.Chart | alt.LayerChart]
    title: str
    caption: str


@dataclass(frozen=True)
class Tables:
    """A run's tables as data frames: its trials with `series`, one measurement of its timings."""

    trials: pd.DataFrame
    space: Mapping[str, Parameter]
    epochs: pd.DataFrame
    scores: pd.DataFrame
    samples: pd.DataFrame
    timings: pd.DataFrame
    turns: pd.DataFrame
    series: pd.DataFrame


def figures(run: str, tables: Tables, shares: Future[pd.DataFrame] | None) -> Iterator[Figure]:
    """Yield every figure for which the run has numbers.

    Args:
        run: The run's name.
        tables: Its tables.
        shares: What `importances` returns; None where there are too few trials for them.
    """
    best = views.bests(tables.trials)
    if not best.empty:
        yield from _learning(tables, best)
    if not tables.scores.empty:
        yield from _quality(run, tables)
    for device in dict.fromkeys(tables.series.device) if len(tables.series) else ():
        yield from _speed(tables, device)
    if not best.empty:
        yield from _search(tables)
    found = shares.result() if shares else pd.DataFrame()
    if not found.empty:
        yield Figure(
            "importance",
            partial(search.importance, found),
            "Hyperparameter importance",
            "fANOVA: share of the variance of a forest fitted to log loss of "
            f"{found.trials.max()} trials, each alone.",
        )


def _learning(tables: Tables, best: pd.DataFrame) -> Iterator[Figure]:
    first = best.iloc[0]
    yield Figure(
        "loss",
        partial(
            trials.training, tables.epochs[tables.epochs.trial == first.trial], first.best_epoch
        ),
        "Loss of the best trial",
        f"Loss of trial {first.trial} on training and validation images; dashed: the epoch whose "
        "weights are kept.",
    )
    drawn = views.foremost(tables.trials[tables.trials.epochs > 0], views.CURVES)
    curves = tables.epochs.merge(drawn[["run", "trial", "series"]], on=["run", "trial"])
    which = views.counted(curves.trial.nunique(), len(tables.trials))
    yield Figure(
        "curves",
        partial(trials.curves, curves, best),
        "Loss of every trial",
        f"Validation loss of {which}; the best stands out, its training loss dashed."
        + views.zero_losses(curves.validation_loss, "epoch")
        + _mixed_losses(tables),
    )


def measured_best(tables: Tables) -> pd.DataFrame:
    """Return the best trial of each series that was measured, the best of all first.

    A resumed search may have a better one since.
    """
    measured = tables.trials.trial.isin(tables.scores.trial[tables.scores.kind == "trial"])
    return views.bests(tables.trials, measured)


def _quality(run: str, tables: Tables) -> Iterator[Figure]:
    best = measured_best(tables)
    networks = views.accuracy_of(tables.scores, best)
    if networks.empty:
        return
    images = f"{tables.scores.images.max():,} test images"
    yield Figure(
        "thresholds",
        partial(
            quality.thresholds,
            networks,
            views.accuracies(views.baselines_of(tables.scores, run)),
            [tables.trials.threshold.iloc[0]],
        ),
        "Accuracy by threshold",
        f"Share of the {images} that reach each cosine similarity, beside floors and ceiling.",
    )
    kept = with_psnr(tables.samples[tables.samples.trial.isin(best.trial)])
    if kept.empty:
        return
    by_psnr = kept.assign(rank=kept.groupby("trial").psnr_db.rank(method="first") - 1)
    # The mean squared error above the perceptual loss, as the study has them
    shown = best.sort_values("loss")
    for_one = f" for {_named(best[:1])}" if len(best) > 1 else ""
    colours = " Difference: red where the network is too bright, blue where too dark."
    spread, worst = f"spread over the {images}", f"the worst of the {images}"
    of_kept = f"the worst by PSNR of the {kept.image.nunique():,} images that were kept"
    for name, title, samples, order, chosen, more in (
        ("images-spread", "Images, spread", kept, "spread", spread, ""),
        (
            "images-worst",
            "Images, worst by cosine similarity",
            kept,
            "worst",
            worst + for_one,
            colours,
        ),
        (
            "images-worst-psnr",
            "Images, worst by PSNR",
            by_psnr[by_psnr["rank"].notna()],
            "worst",
            of_kept + for_one,
            colours,
        ),
    ):
        if samples.empty:
            continue
        cells, rows = views.image_grid(
            samples, shown, order, best.series.iloc[0], COLUMNS, order == "worst"
        )
        yield Figure(
            name,
            partial(quality.images, cells, rows),
            title,
            f"Input, pipeline and output of {_named(shown)}: {cells.column.nunique()} images, "
            f"{chosen}.{more}",
        )


def _named(best: pd.DataFrame) -> str:
    """Return `trial 3`, or `trial 3 (fc, mse) and trial 4 (fc, perceptual)` of several series."""
    if len(best) == 1:
        return f"trial {best.trial.iloc[0]}"
    return " and ".join(f"trial {one.trial} ({one.series})" for one in best.itertuples())


def _search(tables: Tables) -> Iterator[Figure]:
    drawn = views.foremost(tables.trials, DRAWN)
    which = views.counted(len(drawn), len(tables.trials))
    zeros = views.zero_losses(drawn.best_validation_loss, "trial")
    yield Figure(
        "history",
        partial(search.history, drawn, views.best_so_far(tables.trials), tables.space),
        "Search history",
        f"Validation loss of each of {which} at its best epoch, in their order; the steps are the "
        "lowest so far." + zeros + _mixed_losses(tables),
    )
    yield Figure(
        "parallel",
        partial(search.parallel, drawn, tables.space),
        "Parallel coordinates",
        f"One line a trial, {which}.{zeros}",
    )


def _mixed_losses(tables: Tables) -> str:
    return " Losses of different kinds do not compare." if tables.trials.loss.nunique() > 1 else ""


def _speed(tables: Tables, device: str) -> Iterator[Figure]:
    here = tables.series[tables.series.device == device]
    name = views.DEVICES[device]
    yield Figure(
        f"times-{device}",
        partial(
            speed.times,
            views.measured(here, "end_to_end"),
            views.study_marks(tables.timings, device),
        ),
        f"Time an image, {name}",
        f"End to end: median of {comparison.processes(here)}, bars its 95 % interval; dashed the "
        "study's numbers, on its own machine.",
    )
    bests = views.fronted(here)
    if not bests.empty:
        yield Figure(
            f"pareto-{device}",
            partial(speed.pareto, bests),
            f"Quality and speed, {name}",
            "Each at its best batch size; on the line: not beaten at "
            f"≥ {THRESHOLD}, ≥ {STRICT_THRESHOLD} and time together.",
        )
