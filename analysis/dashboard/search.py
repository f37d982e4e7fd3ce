"""The page Search: key figures, history, runs side by side, and what each hyperparameter does."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import pandas as pd

from analysis.charts import search as charts
from analysis.charts import views
from analysis.charts.measures import MEASURES, panels
from analysis.dashboard.axes import measure_choices, scale_choices
from analysis.dashboard.blocks import (
    Figure,
    Group,
    Heading,
    Hint,
    KeyFigure,
    KeyFigures,
    Page,
    Remark,
    Table,
    numbered,
)
from analysis.dashboard.later import Later
from analysis.dashboard.selection import Selection
from analysis.dashboard.trial_columns import columns, score_figure
from analysis.tables.ranking import bests_in_words
from analysis.wording import duration
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
    if trials.series.nunique() > 1:
        yield Remark(
            f"There are {trials.series.nunique()} series: networks, pipelines, losses, "
            "training or validation images differ. What does not compare has a figure of its own."
        )
    if len(best_trials) > 1:
        yield Table(
            "Best trial of each network",
            f"By {bests_in_words(best_trials)}. Loss, cosine and accuracy: validation images.",
            "best",
            best_trials,
            [
                one
                for one in columns(best_trials, selection.space, selection.address)
                if one.key != "ending"
            ],
            selection.address,
        )
    measures, measure = measure_choices(selection.address, trials)
    scales, scale = scale_choices(selection.address, measure)
    yield measures
    yield scales
    for place, (panel, of_panel) in enumerate(panels(trials, measure).items()):
        if panel:
            yield Heading(panel)
        yield from _panel(selection, of_panel, place, measure, scale)
    yield from _importance(trials, selection.space, selection.series)


def _panel(
    selection: Selection, trials: pd.DataFrame, place: int, measure: str, scale: str
) -> Iterator[Any]:
    """Yield the figures of trials whose values compare."""
    space, names = selection.space, selection.series
    value = MEASURES[measure].of_trial
    best = views.best_so_far(trials, measure)
    if trials.run.nunique() > 1 and not best.empty:
        yield _runs(best, trials, place, measure, scale)
    drawn = views.foremost(trials, DRAWN)
    left_out = views.zero_losses(drawn[value], "trial") if scale == "log" else ""
    of = MEASURES[measure].title(trials)
    yield Figure(
        "Search history",
        f"{of} of {views.counted(len(drawn), len(trials))} in their order, each at its best epoch; "
        f"steps: the best so far.{left_out}",
        numbered("history", place),
        partial(
            charts.history,
            drawn,
            best[best.run.isin(drawn.run)],
            space,
            measure=measure,
            scale=scale,
            names=names,
        ),
    )
    yield Figure(
        "Parallel coordinates",
        f"One line a trial, {views.counted(len(drawn), len(trials))}; the best of its series stand "
        "out. Drag along an axis to choose trials."
        + (views.zero_losses(drawn[value], "trial") if MEASURES[measure].log else ""),
        numbered("parallel", place),
        partial(charts.parallel, drawn, space, measure=measure),
    )
    slices = [
        Figure(
            label(name),
            f"{of} at each trial's best epoch.",
            numbered(f"slice-{name}", place),
            partial(charts.slices, drawn, name, space, measure=measure, scale=scale, names=names),
        )
        for name in space
        if drawn[name].nunique() > 1
    ]
    if slices:
        yield Group(slices)


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
            f"{duration(trials.train_sec.sum())} of training",
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


def _runs(best: pd.DataFrame, trials: pd.DataFrame, place: int, measure: str, scale: str) -> Figure:
    of = MEASURES[measure]
    order = of.order(trials).groupby(trials.run).min().dropna().sort_values().index[:RUNS_DRAWN]
    shown = best[best.run.isin(order)]
    shown = shown.assign(label=shown.run + " · " + shown.series)
    total = best.run.nunique()
    which = f"The {RUNS_DRAWN} best of {total:,} runs: the" if total > RUNS_DRAWN else "The"
    title = f"Best so far: {of.title(trials)}"
    return Figure(
        "Runs side by side",
        f"{which} best after each trial, each at its best epoch."
        + (views.zero_losses(shown.best, "step") if scale == "log" else ""),
        numbered("runs", place),
        partial(charts.compare, shown, title=title, scale=scale),
    )


def _importance(
    trials: pd.DataFrame, space: Mapping[str, Parameter], names: Sequence[str]
) -> Iterator[Figure | Hint]:
    too_few = Hint(
        f"Hyperparameter importance needs {views.FEWEST_TRIALS} trials of a network with a "
        "finished epoch."
    )
    if trials.groupby("series").size().max() < views.FEWEST_TRIALS:
        yield too_few
        return
    shares = shares_of(trials[[*SHARES, *space]], space)
    if shares is None:
        yield Hint("Hyperparameter importance is being worked out.")
    elif shares.empty:
        yield too_few
    else:
        fitted = ", ".join(
            f"{count:,} of {name}" for name, count in shares.groupby("series").trials.max().items()
        )
        yield Figure(
            "Hyperparameter importance",
            "For the logarithm of the loss at each trial's best epoch. Bars, fANOVA: the fraction "
            f"of its variance that each explains alone, mean of {views.FORESTS} forests, with "
            "their least and most. Diamonds, PED-ANOVA: how far its values among the best tenth "
            f"are from those of all. Trials: {fitted}.",
            "importance",
            partial(charts.importance, shares, names=names),
        )
