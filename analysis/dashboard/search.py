"""The page Search: key figures, history, runs side by side, and what each hyperparameter does."""

from collections.abc import Mapping

import pandas as pd
import streamlit as st

from analysis.charts import search as charts
from analysis.charts import views
from analysis.dashboard.parts import KeyFigure, card, hint, key_figures, remark, table
from analysis.dashboard.selection import Selection
from analysis.dashboard.trials import columns, score_figure
from analysis.tables.ranking import bests_in_words
from trainables.hyperparameters import Parameter, label
from trainables.thresholds import percent

DRAWN = 2000  # trials in a chart; beyond that a browser gets slow
RUNS_DRAWN = 20
BEST = ["best_validation_loss", "best_validation_accuracy", "best_validation_cosine"]
SHARES = ["run", "trial", "series", "repeat_of", "stop_reason", "objective", *BEST]
IN_A_ROW = 4  # slices

shares_of = st.cache_data(max_entries=8, show_spinner="Hyperparameter importance …")(
    views.importances
)


def show(selection: Selection) -> None:
    """Draw the page."""
    trials = selection.trials
    best_trials = views.bests(trials)
    key_figures(_figures(trials, best_trials))
    if trials.best_validation_loss.isna().all():
        hint("No epoch with a finite loss has ended yet in these runs.")
        return
    best = views.best_so_far(trials)
    if trials.series.nunique() > 1:
        remark(
            f"There are {trials.series.nunique()} series: networks, pipelines, losses, "
            "training or validation images differ. Losses compare within a series; across them "
            "only where the loss, the pipeline and the validation images are the same."
        )
    if len(best_trials) > 1:
        shown = columns(best_trials, selection.space)
        table(
            "Best trial of each network",
            f"By {bests_in_words(best_trials)}.",
            best_trials,
            "best",
            {name: column for name, column in shown.items() if name != "ending"},
        )
    if trials.run.nunique() > 1:
        _runs(best, trials)
    drawn = views.foremost(trials, DRAWN)
    card(
        "Search history",
        f"Validation loss of {views.counted(len(drawn), len(trials))} in their order, each at its "
        "best epoch; steps: the lowest so far." + views.zero_losses(drawn[charts.LOSS], "trial"),
        "history",
        charts.history,
        drawn,
        best[best.run.isin(drawn.run)],
        selection.space,
    )
    _hyperparameters(drawn, trials, selection.space)


def _figures(trials: pd.DataFrame, best: pd.DataFrame) -> list[KeyFigure]:
    """Count trials and epochs; add the best trial where there is one series, and so one loss."""
    states = trials.state.value_counts()
    figures = [
        ("Trials", f"{len(trials):,}", f"{states.get('running', 0)} running"),
        (
            "Finished",
            f"{states.get('finished', 0):,}",
            f"{states.get('stopped', 0)} stopped early, {states.get('failed', 0)} failed",
        ),
        (
            "Epochs",
            f"{trials.epochs.sum():,}",
            f"{trials.train_sec.sum() / 3600:.2g} h of training",
        ),
    ]
    if len(best) != 1:
        return figures
    first = best.iloc[0]
    return [
        *figures,
        (
            "Loss of the best",
            f"{first.best_validation_loss:.3g}",
            f"trial {first.trial}, epoch {first.best_epoch:.0f}",
        ),
        *score_figure(first, "validation, that epoch"),
        (
            f"Cosine ≥ {first.threshold:g}",
            percent(first.best_validation_accuracy),
            "validation, that epoch",
        ),
    ]


def _runs(best: pd.DataFrame, trials: pd.DataFrame) -> None:
    if best.empty:
        return
    order = best.groupby("run").best.min().sort_values().index[:RUNS_DRAWN]
    shown = best[best.run.isin(order)]
    shown = shown.assign(label=shown.run + " · " + shown.series)
    total = trials.run.nunique()
    which = f"The {RUNS_DRAWN} best of {total:,} runs: the" if total > RUNS_DRAWN else "The"
    card(
        "Runs side by side",
        f"{which} lowest validation loss after each trial, each at its best epoch."
        + views.zero_losses(shown.best, "step"),
        "runs",
        charts.compare,
        shown,
    )


def _hyperparameters(
    drawn: pd.DataFrame, trials: pd.DataFrame, space: Mapping[str, Parameter]
) -> None:
    left, right = (
        st.columns([2, 1]) if trials.series.nunique() == 1 else (st.container(), st.container())
    )
    with left:
        card(
            "Parallel coordinates",
            f"One line a trial, {views.counted(len(drawn), len(trials))}; the darker, the lower "
            "its loss at its best epoch, within its series."
            + views.zero_losses(drawn[charts.LOSS], "trial"),
            "parallel",
            charts.parallel,
            drawn,
            space,
        )
    searched = [name for name in space if drawn[name].nunique() > 1]
    for first in range(0, len(searched), IN_A_ROW):
        in_a_row = searched[first : first + IN_A_ROW]
        for column, name in zip(st.columns(len(in_a_row)), in_a_row, strict=True):
            with column:
                note = "Each trial's loss at its best epoch."
                card(label(name), note, f"slice {name}", charts.slices, drawn, name, space)
    with right:  # last, since it takes longest
        shares = shares_of(trials[[*SHARES, *space]], space)
        if shares.empty:
            hint(
                f"Hyperparameter importance needs {views.FEWEST_TRIALS} trials of a network with a "
                "finished epoch."
            )
        else:
            fitted = ", ".join(
                f"{count:,} of {name}"
                for name, count in shares.groupby("series").trials.max().items()
            )
            card(
                "Hyperparameter importance",
                "fANOVA: share of the variance of a forest fitted to the log of each trial's loss "
                f"at its best epoch that each explains alone; {fitted}.",
                "importance",
                charts.importance,
                shares,
            )
