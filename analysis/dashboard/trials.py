"""The page Trials: learning curves, timeline, the table, and one trial opened."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
import streamlit as st

from analysis.charts import quality, views
from analysis.charts import trials as charts
from analysis.charts.labels import accuracy_label, score_label
from analysis.dashboard.parts import (
    NUMBER,
    KeyFigure,
    card,
    hint,
    key_figures,
    picture,
    plain,
    remark,
    table,
)
from analysis.dashboard.selection import Selection
from analysis.loading import loading
from analysis.tables.ranking import beside_each_other, order_in_words
from trainables.hyperparameters import (
    KNOWN,
    Parameter,
    label,
    text,
)
from trainables.thresholds import percent

TIMELINE = 300  # trials
IMAGES = 8  # of a trial that is opened
BEFORE = {
    "run": "Run",
    "trial": "Trial",
    "series": "Network",
    "ending": "Ended by",
    "best_validation_loss": NUMBER(
        "Loss", format="%.3g", help="on the validation images, at the best epoch"
    ),
}
REACHED = {
    "best_validation_cosine": NUMBER(
        "Mean cosine", format="%.4f", help="of the same images at the same epoch"
    ),
    "best_epoch": "Best epoch",
}
AFTER = {
    "epochs": "Epochs",
    "train_sec": NUMBER("Training, s", format="%.1f"),
    "images_per_sec": NUMBER("Images/s", format="%.0f"),
    "peak_mib": NUMBER("Peak MiB", format="%.0f"),
    "started_at": st.column_config.DatetimeColumn("Started", format="MMM D, HH:mm"),
}


def columns(trials: pd.DataFrame, space: Mapping[str, Parameter]) -> dict[str, Any]:
    """Return the columns of a table of trials, with Streamlit's configuration of each."""
    accuracy = st.column_config.ProgressColumn(
        accuracy_label(trials),
        format="percent",
        min_value=0,
        max_value=1,
        help="on the validation images, at the best epoch",
    )
    parameters = {name: _column(name, one) for name, one in space.items()}
    score = {}
    if label_of_score := score_label(trials):
        score["best_validation_score"] = NUMBER(
            label_of_score, format="%.4g", help="what its run ranks by, at the best epoch"
        )
    reached = {**score, "best_validation_accuracy": accuracy, **REACHED}
    found = {**BEFORE, **reached, **parameters, **AFTER}
    if trials.threshold.nunique() > 1:
        found["threshold"] = NUMBER("Threshold", help="of its run, for the cosine similarity")
    return found


def score_figure(trial: pd.Series, note: str) -> list[KeyFigure]:
    """Return the metric that a trial's run ranks by as a key figure; none where it is no metric."""
    if pd.isna(trial.best_validation_score):
        return []
    return [(plain(f"Mean {trial.rank_by}"), f"{trial.best_validation_score:.4g}", note)]


def _column(name: str, parameter: Parameter) -> Any:
    if not parameter.is_numeric:
        return label(name)
    usual = "d" if parameter.kind is int else ".3g"
    style = KNOWN[name].style if name in KNOWN else ""
    return NUMBER(label(name), format=f"%{style or usual}")


def show(selection: Selection) -> None:
    """Draw the page."""
    order = beside_each_other(selection.trials).sort_values(kind="stable").index
    trials = selection.trials.loc[order].reset_index(drop=True)
    if trials.empty:
        hint("These runs have no trials yet.")
        return
    names = (trials.run + " / " + trials.trial.astype(str)).tolist()
    opened = st.selectbox(
        "Open a trial",
        names,
        index=None,
        key="trial",
        bind="query-params",
        placeholder="Choose one here or in the table",
    )
    if opened is not None:
        _show_trial(selection, trials.iloc[names.index(opened)])
    _curves(selection, trials)
    _timeline(trials)
    table(
        "All trials",
        f"By {order_in_words(trials)}. Click a column's head to sort, the box before a row to open "
        "that trial.",
        trials,
        "trials",
        columns(trials, selection.space),
        height=380,
        selection_mode="single-row",
        on_select=lambda: _open(names),
    )


def _open(names: list[str]) -> None:
    rows = st.session_state["trials"].selection.rows
    st.session_state["trial"] = names[rows[0]] if rows else None


def _curves(selection: Selection, trials: pd.DataFrame) -> None:
    drawn = views.foremost(trials[trials.epochs > 0], views.CURVES)
    if drawn.empty:
        hint("No epoch has ended yet in these runs.")
        return
    rows = selection.store.frame("epochs", drawn.run.unique()).merge(
        drawn[["run", "trial", "series"]], on=["run", "trial"]
    )
    if rows.empty:
        return
    card(
        "Learning curves",
        f"Validation loss of {views.counted(len(drawn), len(trials))} by epoch; the best trial of "
        "each network stands out, its training loss dashed."
        + views.zero_losses(rows.validation_loss, "epoch"),
        "curves",
        charts.curves,
        rows,
        views.bests(drawn),
    )


def _timeline(trials: pd.DataFrame) -> None:
    runs = trials.groupby("run").started_at.max().sort_values(ascending=False).index
    which = f" of the newest run, {runs[0]}" if len(runs) > 1 else ""
    card(
        "Timeline",
        f"When each trial{which} ran and what ended it.",
        "timeline",
        charts.timeline,
        trials[trials.run == runs[0]].sort_values("trial").head(TIMELINE),
        trials.ended_at.max() if (trials.state != "running").all() else pd.Timestamp.now("UTC"),
    )


def _show_trial(selection: Selection, trial: pd.Series) -> None:
    """Draw everything that is known of one trial."""
    with st.container(border=True):
        st.subheader(plain(f"Trial {trial.trial} of {trial.run}"), anchor=False)
        device = trial.device if isinstance(trial.device, str) else "no device yet"
        st.text(f"{trial.series}, {trial.ending} after {trial.epochs} epochs, on {device}")
        key_figures(_hyperparameters(trial, selection.space))
        if trial.error is not None and not pd.isna(trial.error):
            st.error("It failed:", icon=":material/error:")
            st.code(str(trial.error), language=None, wrap_lines=True)
        _loss(selection, trial)
        _images(selection, trial)
        _loading(selection, trial)


def _hyperparameters(
    trial: pd.Series, space: Mapping[str, Parameter]
) -> list[tuple[str, str, str]]:
    found = [
        (label(name), text(name, trial[name]), KNOWN[name].unit if name in KNOWN else "")
        for name in space
        if pd.notna(trial[name])
    ]
    found.append(("Seed", f"{trial.seed}", ""))
    if pd.notna(trial.best_epoch):
        epoch = f"epoch {trial.best_epoch:.0f}"
        found += [
            ("Loss", f"{trial.best_validation_loss:.3g}", epoch),
            *score_figure(trial, "validation"),
            (
                f"Cosine ≥ {trial.threshold:g}",
                percent(trial.best_validation_accuracy),
                "validation",
            ),
        ]
    return found


def _loss(selection: Selection, trial: pd.Series) -> None:
    epochs = selection.store.frame("epochs", [trial.run])
    mine = epochs[epochs.trial == trial.trial]
    if mine.empty:
        hint("No epoch of it has ended yet.")
    else:
        card(
            "Loss by epoch",
            "Dashed rule: the epoch whose weights are kept.",
            "training",
            charts.training,
            mine,
            trial.best_epoch,
        )


def _images(selection: Selection, trial: pd.Series) -> None:
    samples = selection.store.frame("samples", [trial.run])
    mine = samples[samples.trial == trial.trial]
    if mine.empty:
        hint("Images are kept of a search's finalists only, when it ends.")
        return
    kept = "" if mine["rank"].notna().any() else f" of the {mine.image.nunique()} that were kept"
    cells, rows = views.image_grid(
        mine,
        pd.DataFrame([trial[["run", "trial", "series"]]]),
        "worst",
        trial.series,
        IMAGES,
        difference=True,
    )
    picture(
        "Its worst images",
        f"Worst first{kept}: input, pipeline, output; red: too bright, blue: too dark.",
        "trial images",
        quality.images,
        cells,
        rows,
    )


def _loading(selection: Selection, trial: pd.Series) -> None:
    st.markdown("**Load its network**")
    runs = selection.runs
    lines, note = loading(selection.store.networks, runs[runs.run == trial.run].iloc[0], trial)
    if lines:
        _code(lines)
    if note:
        remark(note)


def _code(lines: str) -> None:
    st.code(lines, language=None, wrap_lines=True)  # the theme colours code too faintly to read
