"""The page Quality: accuracy by threshold, and images, for each set of test images."""

import pandas as pd
import streamlit as st

from analysis.charts import quality as charts
from analysis.charts import views
from analysis.charts.labels import data_names, task_names
from analysis.dashboard.parts import NUMBER, card, hint, picture, plain, remark, table
from analysis.dashboard.selection import Selection
from analysis.tables.ranking import frame_has_mixed_losses, ranking_rule
from trainables.thresholds import THRESHOLD

SHOWN = 8
COLUMNS = {
    "series": "Network",
    "run": "Run",
    "subject": "Subject",
    "kind": "Kind",
    "share_mean": NUMBER(f"≥ {THRESHOLD}, mean", format="percent"),
    "share_std": NUMBER("± deviation", format="percent"),
    "trainings": "Trainings",
    "images": "Images",
    "cosine_mean": NUMBER("Mean cosine", format="%.4f"),
    "mse": NUMBER("MSE", format="%.2e"),
    "psnr_db": NUMBER("PSNR, dB", format="%.1f"),
    "ssim": NUMBER("SSIM", format="%.4f"),
    "parameters": "Parameters",
}


def show(selection: Selection) -> None:
    """Draw the page: one section for each set of test images."""
    accuracy = selection.table("accuracy")
    if accuracy.empty:
        hint("No accuracy yet: a search measures its finalists on the test images when it ends.")
        return
    names = data_names(selection.runs, "test")
    tasks = task_names(selection.runs)
    if tasks.nunique() > 1:
        names = names + " for " + tasks
    tested = selection.trials.assign(test_name=selection.trials.run.map(names))
    tested = tested[tested.run.isin(accuracy.run)]
    groups = sorted(tested.test_name.unique())
    if len(groups) > 1:
        remark(
            f"These runs were tested on {len(groups)} different sets of images: each has its own "
            "section."
        )
    for number, name in enumerate(groups):
        if len(groups) > 1:
            st.header(plain(name), anchor=False)
        _section(selection, accuracy, tested[tested.test_name == name], number)


def _section(
    selection: Selection, accuracy: pd.DataFrame, trials: pd.DataFrame, number: int
) -> None:
    measured = set(zip(accuracy.run, accuracy.trial, strict=True))
    among = [pair in measured for pair in zip(trials.run, trials.trial, strict=True)]
    best = views.bests(trials, pd.Series(among, trials.index, dtype=bool))
    networks = views.accuracy_of(accuracy, best)
    if networks.empty:
        hint("None of these runs' best trials was measured on the test images.")
        return
    newest = selection.runs[selection.runs.run.isin(trials.run)].iloc[0].run
    baselines = views.baselines_of(accuracy, newest)
    note = (
        f"Share of {networks.images.max():,.0f} test images, best trial of each network; floors "
        f"and ceiling as {newest} measured them."
    )
    if frame_has_mixed_losses(trials):
        note += f" Best: {ranking_rule(mixed_losses=True)}."
    card(
        "Accuracy by threshold",
        note,
        f"thresholds {number}",
        charts.thresholds,
        networks,
        baselines,
    )
    _images(selection.table("samples"), best, number)
    _table(pd.concat([accuracy[accuracy.kind == "trial"], baselines]), trials, number)


def _images(samples: pd.DataFrame, best: pd.DataFrame, number: int) -> None:
    kept = best[best.run.isin(samples.run)]
    if kept.empty:
        hint("These runs kept no images.")
        return
    left, middle, right = st.columns([2, 2, 1], vertical_alignment="bottom")
    order = left.segmented_control(
        "Images",
        views.ORDERS,
        default="spread",
        required=True,
        key=f"images{number or ''}",
        bind="query-params",
        help="Evenly spread over the test images, or where a network is worst, middling and best",
    )
    of = middle.selectbox("of", kept.series.tolist(), key=f"of{number or ''}", bind="query-params")
    difference = right.toggle("Difference", key=f"difference{number or ''}", bind="query-params")
    cells, rows = views.image_grid(samples, kept, order or "spread", of, SHOWN, difference)
    note = (
        "Input, what the pipeline makes of it, and each network's best trial with its cosine "
        "similarity."
    )
    if difference:
        note += " Difference: red where it is too bright, blue where too dark."
    picture("Images", note, f"images {number}", charts.images, cells, rows)


def _table(accuracy: pd.DataFrame, trials: pd.DataFrame, number: int) -> None:
    rows = accuracy[
        (accuracy.threshold == THRESHOLD)
        & accuracy.run.isin(trials.run)
        & accuracy.repeat_of.isna()
    ]
    rows = rows.merge(trials[["run", "trial", "series"]], on=["run", "trial"], how="left")
    table(
        f"At cosine ≥ {THRESHOLD}",
        "Finalists, floors and ceiling; trainings: itself and its repeats with other seeds.",
        rows.sort_values("share_mean", ascending=False),
        f"accuracy {number}",
        COLUMNS,
    )
