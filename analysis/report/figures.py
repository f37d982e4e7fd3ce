"""The figures of a report, each with its caption."""

import re
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial

import altair as alt
import pandas as pd

from analysis.charts import quality, search, speed, trials, views
from analysis.charts.measures import panels
from analysis.report.results import with_psnr
from analysis.timing import comparison
from analysis.wording import named
from trainables.hyperparameters import Parameter
from trainables.thresholds import STRICT_THRESHOLD, THRESHOLD

COLUMNS = 7
DRAWN = 200  # trials in a chart
BEST, EXACTNESS, FAILURES, SEARCH = "best", "exactness", "failures", "search"
"""Parts of a report that have figures; those of a device's speed are called as the device."""
COLOURS = " Difference: red where the network is too bright, blue where too dark."


@dataclass(frozen=True)
class Figure:
    """A chart, and what a reader has to know of it.

    Attributes:
        part: The part of the report that it belongs to.
        name: A word that tells it from the run's others.
        chart: Makes it. Raises NothingToDrawError.
    """

    part: str
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
    """Yield every figure for which the run has numbers, those of one part in their order.

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
            SEARCH,
            "importance",
            partial(search.importance, found, names=_series(tables)),
            "Hyperparameter importance",
            f"Of the log loss of {found.trials.max():,} trials. Bars: {views.FANOVA}, the fraction "
            f"of the variance that each explains alone, mean of {views.FORESTS} forests; lines "
            f"from their least to their most. Diamonds: {views.PED_ANOVA}, what tells the best "
            "trials from all.",
        )


def measured_best(tables: Tables) -> pd.DataFrame:
    """Return the best trial of each series that was measured, the best of all first.

    A resumed search may have a better one since.
    """
    measured = tables.trials.trial.isin(tables.scores.trial[tables.scores.kind == "trial"])
    return views.bests(tables.trials, measured)


def _series(tables: Tables) -> list[str]:
    """Return all that has a colour in charts of trials, so that each has one throughout."""
    return list(tables.trials.series.unique())


def _learning(tables: Tables, best: pd.DataFrame) -> Iterator[Figure]:
    first = best.iloc[0]
    yield Figure(
        BEST,
        "loss",
        partial(
            trials.training, tables.epochs[tables.epochs.trial == first.trial], first.best_epoch
        ),
        "Loss of the best trial",
        f"Loss of trial {first.trial} on training and validation images; dashed: the epoch whose "
        "weights are kept.",
    )
    for loss, some in panels(tables.trials[tables.trials.epochs > 0]).items():
        drawn = views.foremost(some, views.CURVES)
        curves = tables.epochs.merge(drawn[["run", "trial", "series"]], on=["run", "trial"])
        which = views.counted(curves.trial.nunique(), len(some))
        yield Figure(
            SEARCH,
            _of_panel("curves", loss),
            partial(trials.curves, curves, views.bests(some), names=_series(tables)),
            _of_loss("Loss of every trial", loss),
            f"Validation loss of {which}; the best stands out, its training loss dashed."
            + views.zero_losses(curves.validation_loss, "epoch"),
        )


def _quality(run: str, tables: Tables) -> Iterator[Figure]:
    best = measured_best(tables)
    networks = views.accuracy_of(tables.scores, best)
    if networks.empty:
        return
    images = f"{tables.scores.images.max():,} test images"
    yield Figure(
        EXACTNESS,
        "thresholds",
        partial(
            quality.thresholds,
            networks,
            views.accuracies(views.baselines_of(tables.scores, run)),
            [tables.trials.threshold.iloc[0]],
            names=_series(tables),
        ),
        "Accuracy by threshold",
        f"Share of the {images} that reach each cosine similarity, beside floors and ceiling.",
    )
    kept = with_psnr(tables.samples[tables.samples.trial.isin(best.trial)])
    if kept.empty:
        return
    for_one = f" for {_named(best[:1])}" if len(best) > 1 else ""
    yield _images(EXACTNESS, "spread", "Images, spread", kept, best, f"spread over the {images}.")
    yield _images(
        FAILURES,
        "worst",
        "Images, worst by cosine similarity",
        kept,
        best,
        f"the worst of the {images}{for_one}.{COLOURS}",
    )
    by_psnr = kept.assign(rank=kept.groupby("trial").psnr_db.rank(method="first") - 1)
    by_psnr = by_psnr[by_psnr["rank"].notna()]
    if not by_psnr.empty:
        yield _images(
            FAILURES,
            "worst-psnr",
            "Images, worst by PSNR",
            by_psnr,
            best,
            f"the worst by PSNR of the {by_psnr.image.nunique():,} that were kept{for_one}."
            f"{COLOURS}",
        )


def _images(
    part: str, name: str, title: str, samples: pd.DataFrame, best: pd.DataFrame, which: str
) -> Figure:
    """Return images with their outputs: spread over the test split, or those of lowest rank."""
    # The mean squared error above the perceptual loss, as the study has them
    shown = best.sort_values("loss")
    order = "spread" if name == "spread" else "worst"
    cells, rows = views.image_grid(
        samples, shown, order, best.series.iloc[0], COLUMNS, order == "worst"
    )
    return Figure(
        part,
        f"images-{name}",
        partial(quality.images, cells, rows),
        title,
        f"Input, pipeline and output of {_named(shown)}: {cells.column.nunique()} images, {which}",
    )


def _named(best: pd.DataFrame) -> str:
    """Return `trial 3`, or `trial 3 (fc, mse) and trial 4 (fc, perceptual)` of several series."""
    if len(best) == 1:
        return f"trial {best.trial.iloc[0]}"
    return " and ".join(f"trial {one.trial} ({one.series})" for one in best.itertuples())


def _search(tables: Tables) -> Iterator[Figure]:
    for loss, some in panels(tables.trials).items():
        drawn = views.foremost(some, DRAWN)
        which = views.counted(len(drawn), len(some))
        zeros = views.zero_losses(drawn.best_validation_loss, "trial")
        yield Figure(
            SEARCH,
            _of_panel("history", loss),
            partial(
                search.history,
                drawn,
                views.best_so_far(some),
                tables.space,
                names=_series(tables),
            ),
            _of_loss("Search history", loss),
            f"Validation loss of each of {which} at its best epoch, in their order; the steps are "
            f"the lowest so far.{zeros}",
        )
        yield Figure(
            SEARCH,
            _of_panel("parallel", loss),
            partial(search.parallel, drawn, tables.space),
            _of_loss("Parallel coordinates", loss),
            f"One line a trial, {which}; the darker, the lower its loss.{zeros}",
        )


def _of_panel(name: str, loss: str) -> str:
    """Name a figure of the trials with one loss, where losses do not compare."""
    return f"{name}-{re.sub(r'[^A-Za-z0-9_]+', '-', loss)}" if loss else name


def _of_loss(title: str, loss: str) -> str:
    return f"{title}, {loss}" if loss else title


def _speed(tables: Tables, device: str) -> Iterator[Figure]:
    here = tables.series[tables.series.device == device]
    subjects = list(tables.series.subject.unique())
    yield Figure(
        device,
        f"times-{device}",
        partial(
            speed.times,
            views.measured(here, "end_to_end"),
            views.study_marks(tables.timings, device),
            names=subjects,
        ),
        f"Time an image, {named(device)}",
        f"End to end: median of {comparison.processes(here)}, bars its 95 % interval; dashed the "
        "study's numbers, on its own machine.",
    )
    bests = views.fronted(here)
    if not bests.empty:
        yield Figure(
            device,
            f"pareto-{device}",
            partial(speed.pareto, bests, names=subjects),
            f"Quality and speed, {named(device)}",
            "Each at its best batch size; named and on the line: not beaten at "
            f"≥ {THRESHOLD}, ≥ {STRICT_THRESHOLD} and time together.",
        )
