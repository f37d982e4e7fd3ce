"""The page Search: key figures, history, runs side by side, and what each hyperparameter does."""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import pandas as pd

from analysis.charts import search as charts
from analysis.charts import views
from analysis.dashboard.blocks import (
    Figure,
    Group,
    Hint,
    KeyFigure,
    KeyFigures,
    Page,
    Remark,
    Table,
)
from analysis.dashboard.later import Later
from analysis.dashboard.selection import Selection
from analysis.dashboard.trial_columns import columns, score_figure
from analysis.tables.ranking import bests_in_words
from trainables.hyperparameters import Parameter, label
from trainables.thresholds import percent

DRAWN = 2000  # trials in a chart; beyond that a browser gets slow
RUNS_DRAWN = 20
BEST = ["best_validation_loss", "best_validation_accuracy", "best_validation_cosine"]
SHARES = ["run", "trial", "series", "repeat_of", "stop_reason", "objective", *BEST]

shares_of = Later(views.importances)


def page(selection: Selection) -> Page:
    """Return the page."""
    return Page("Search", list(_blocks(selection)))


def _blocks(selection: Selection) -> Iterator[Any]:
    trials = selection.trials
    best_trials = views.bests(trials)
    yield KeyFigures(_figures(selection, trials, best_trials))
    if trials.best_validation_loss.isna().all():
        yield Hint("No epoch with a finite loss has ended yet in these runs.")
        return
    best = views.best_so_far(trials)
    if trials.series.nunique() > 1:
        yield Remark(
            f"There are {trials.series.nunique()} series: networks, pipelines, losses, "
            "training or validation images differ. Losses compare within a series; across them "
            "only where the loss, the pipeline and the validation images are the same."
        )
    if len(best_trials) > 1:
        yield Table(
            "Best trial of each network",
            f"By {bests_in_words(best_trials)}.",
            "best",
            best_trials,
            [
                one
                for one in columns(best_trials, selection.space, selection.address)
                if one.key != "ending"
            ],
            selection.address,
        )
    if trials.run.nunique() > 1 and not best.empty:
        yield _runs(best)
    drawn = views.foremost(trials, DRAWN)
    yield Figure(
        "Search history",
        f"Validation loss of {views.counted(len(drawn), len(trials))} in their order, each at its "
        "best epoch; steps: the lowest so far." + views.zero_losses(drawn[charts.LOSS], "trial"),
        "history",
        partial(charts.history, drawn, best[best.run.isin(drawn.run)], selection.space),
    )
    yield from _hyperparameters(drawn, trials, selection.space)


def _figures(selection: Selection, trials: pd.DataFrame, best: pd.DataFrame) -> list[KeyFigure]:
    """Count trials and epochs; add the best trial where there is one series, and so one loss."""
    states = trials.state.value_counts()
    other = [
        f"{states[state]:,} {said}"
        for state, said in (
            ("stopped", "stopped early"),
            ("failed", "failed"),
            ("interrupted", "interrupted"),
        )
        if state in states
    ]
    figures = [
        KeyFigure("Trials", f"{len(trials):,}", f"{states.get('running', 0)} running"),
        KeyFigure("Finished", f"{states.get('finished', 0):,}", ", ".join(other)),
        KeyFigure(
            "Epochs",
            f"{trials.epochs.sum():,}",
            f"{trials.train_sec.sum() / 3600:.2g} h of training",
        ),
    ]
    if len(best) != 1:
        return figures
    first = best.iloc[0]
    (of,) = selection.runs[selection.runs.run == first.run].validation_images
    return [
        *figures,
        KeyFigure(
            "Loss of the best",
            f"{first.best_validation_loss:.3g}",
            f"trial {first.trial}, epoch {first.best_epoch:.0f}",
        ),
        *score_figure(first, "validation, that epoch"),
        KeyFigure(
            f"Cosine ≥ {first.threshold:g}",
            percent(first.best_validation_accuracy),
            f"of {of:,} validation images, that epoch",
        ),
    ]


def _runs(best: pd.DataFrame) -> Figure:
    order = best.groupby("run").best.min().sort_values().index[:RUNS_DRAWN]
    shown = best[best.run.isin(order)]
    shown = shown.assign(label=shown.run + " · " + shown.series)
    total = best.run.nunique()
    which = f"The {RUNS_DRAWN} best of {total:,} runs: the" if total > RUNS_DRAWN else "The"
    return Figure(
        "Runs side by side",
        f"{which} lowest validation loss after each trial, each at its best epoch."
        + views.zero_losses(shown.best, "step"),
        "runs",
        partial(charts.compare, shown),
    )


def _hyperparameters(
    drawn: pd.DataFrame, trials: pd.DataFrame, space: Mapping[str, Parameter]
) -> Iterator[Any]:
    yield Figure(
        "Parallel coordinates",
        f"One line a trial, {views.counted(len(drawn), len(trials))}; the darker, the lower "
        "its loss at its best epoch, within its series."
        + views.zero_losses(drawn[charts.LOSS], "trial"),
        "parallel",
        partial(charts.parallel, drawn, space),
    )
    slices = [
        Figure(
            label(name),
            "Each trial's loss at its best epoch.",
            f"slice-{name}",
            partial(charts.slices, drawn, name, space),
        )
        for name in space
        if drawn[name].nunique() > 1
    ]
    if slices:
        yield Group(slices)
    if trials.groupby("series").size().max() < views.FEWEST_TRIALS:
        yield Hint(
            f"Hyperparameter importance needs {views.FEWEST_TRIALS} trials of a network with a "
            "finished epoch."
        )
        return
    shares = shares_of(trials[[*SHARES, *space]], space)
    if shares is None:
        yield Hint("Hyperparameter importance is being worked out.")
    elif shares.empty:
        yield Hint(
            f"Hyperparameter importance needs {views.FEWEST_TRIALS} trials of a network with a "
            "finished epoch."
        )
    else:
        fitted = ", ".join(
            f"{count:,} of {name}" for name, count in shares.groupby("series").trials.max().items()
        )
        yield Figure(
            "Hyperparameter importance",
            "fANOVA: share of the variance of a forest fitted to the log of each trial's loss "
            f"at its best epoch that each explains alone; {fitted}.",
            "importance",
            partial(charts.importance, shares),
        )
