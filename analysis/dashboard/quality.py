"""The page Quality: accuracy by threshold, and images, for each set of test images."""

import pandas as pd
import streamlit as st

from analysis.charts import quality as charts
from analysis.charts import views
from analysis.charts.labels import data_names, task_names
from analysis.dashboard.parts import NUMBER, card, hint, picture, plain, remark, table
from analysis.dashboard.selection import Selection
from analysis.tables.ranking import BY_LOSS, bests_in_words
from analysis.tables.scored import scores_at
from trainables.thresholds import THRESHOLD

SHOWN = 8
SUBJECT = {"series": "Network", "run": "Run", "subject": "Subject", "kind": "Kind"}
MEANS = {
    "cosine": NUMBER("Mean cosine", format="%.4f"),
    "mse": NUMBER("MSE", format="%.2e"),
    "psnr": NUMBER("PSNR, dB", format="%.1f"),
    "ssim": NUMBER("SSIM", format="%.4f"),
}


def show(selection: Selection) -> None:
    """Draw the page: one section for each set of test images."""
    scores = selection.table("scores")
    scores = scores[scores.split == "test"]
    if scores.empty:
        hint("No scores yet: a search measures its finalists on the test images when it ends.")
        return
    names = data_names(selection.runs, "test")
    tasks = task_names(selection.runs)
    if tasks.nunique() > 1:
        names = names + " for " + tasks
    tested = selection.trials.assign(test_name=selection.trials.run.map(names))
    tested = tested[tested.run.isin(scores.run)]
    groups = sorted(tested.test_name.unique())
    if len(groups) > 1:
        remark(
            f"These runs were tested on {len(groups)} different sets of images: each has its own "
            "section."
        )
    for number, name in enumerate(groups):
        if len(groups) > 1:
            st.header(plain(name), anchor=False)
        _section(selection, scores, tested[tested.test_name == name], number)


def _section(selection: Selection, scores: pd.DataFrame, trials: pd.DataFrame, number: int) -> None:
    measured = set(zip(scores.run, scores.trial, strict=True))
    among = [pair in measured for pair in zip(trials.run, trials.trial, strict=True)]
    best = views.bests(trials, pd.Series(among, trials.index, dtype=bool))
    networks = views.accuracy_of(scores, best)
    if networks.empty:
        hint("None of these runs' best trials was measured on the test images.")
        return
    newest = selection.runs[selection.runs.run.isin(trials.run)].iloc[0].run
    baselines = views.baselines_of(scores, newest)
    note = (
        f"Share of {networks.images.max():,.0f} test images, best trial of each network; floors "
        f"and ceiling as {newest} measured them."
    )
    rule = bests_in_words(best)
    if rule != BY_LOSS:
        note += f" Best: {rule}."
    card(
        "Accuracy by threshold",
        note,
        f"thresholds {number}",
        charts.thresholds,
        networks,
        views.accuracies(baselines),
        sorted(set(trials.threshold)),
    )
    _images(selection.table("samples"), best, number)
    finalists = scores.run.isin(trials.run) & (scores.kind == "trial") & scores.repeat_of.isna()
    _table(pd.concat([scores[finalists], baselines]), trials, number)


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


def _table(scores: pd.DataFrame, trials: pd.DataFrame, number: int) -> None:
    thresholds = set(trials.threshold)
    threshold = thresholds.pop() if len(thresholds) == 1 else THRESHOLD  # which every run has
    subject = ["run", "subject"]
    means = scores[scores.threshold.isna()].pivot(index=subject, columns="metric", values="value")
    rows = scores_at(scores, "cosine", threshold).drop(columns=["metric", "value"])
    rows = rows.merge(means.reset_index(), on=subject, how="left")
    rows = rows.merge(trials[["run", "trial", "series"]], on=["run", "trial"], how="left")
    own = {name: NUMBER(name, format="%.4g") for name in means.columns if name not in MEANS}
    table(
        f"At cosine ≥ {threshold:g}",
        "Finalists, floors and ceiling; trainings: itself and its repeats with other seeds.",
        rows.sort_values("mean", ascending=False),
        f"accuracy {number}",
        {
            **SUBJECT,
            "mean": NUMBER(f"≥ {threshold:g}, mean", format="percent"),
            "sd": NUMBER("± deviation", format="percent"),
            "trainings": "Trainings",
            "images": "Images",
            **MEANS,
            **own,
            "parameters": "Parameters",
        },
    )
