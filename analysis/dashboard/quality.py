"""The page Quality: accuracy by threshold, and images, for each set of test images."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import pandas as pd

from analysis.charts import quality as charts
from analysis.charts import views
from analysis.charts.labels import data_names, task_names
from analysis.dashboard.blocks import (
    Choices,
    Column,
    Figure,
    Heading,
    Hint,
    Page,
    Pictures,
    Remark,
    Table,
    number,
    numbered,
)
from analysis.dashboard.selection import Selection
from analysis.tables.ranking import BY_LOSS, bests_in_words
from analysis.tables.scored import scores_at
from analysis.wording import named, percent_with_interval
from trainables.thresholds import THRESHOLD, percent

SHOWN = 8
SUBJECT = [
    Column("series", "Network"),
    Column("run", "Run"),
    Column("subject", "Subject"),
    Column("kind", "Kind", named),
]
MEANS = {
    "cosine": number("cosine", "Mean cosine", ".4f"),
    "mse": number("mse", "MSE", ".2e"),
    "psnr": number("psnr", "PSNR, dB", ".1f"),
    "ssim": number("ssim", "SSIM", ".4f"),
}
ORDERS = {
    "spread": "spread over the test images",
    "worst": "worst",
    "median": "middling",
    "best": "best",
}


def page(selection: Selection) -> Page:
    """Return the page: one section for each set of test images."""
    return Page("Quality", list(_blocks(selection)))


def _blocks(selection: Selection) -> Iterator[Any]:
    scores = selection.table("scores")
    scores = scores[scores.split == "test"]
    if scores.empty:
        yield Hint("No scores yet: a search measures its finalists on the test images at its end.")
        return
    names = data_names(selection.runs, "test")
    tasks = task_names(selection.runs)
    if tasks.nunique() > 1:
        names = names + " for " + tasks
    tested = selection.trials.assign(test_name=selection.trials.run.map(names))
    tested = tested[tested.run.isin(scores.run)]
    groups = sorted(tested.test_name.unique())
    if len(groups) > 1:
        yield Remark(
            f"These runs were tested on {len(groups)} different sets of images: each has its own "
            "section."
        )
    for place, name in enumerate(groups):
        if len(groups) > 1:
            yield Heading(name)
        yield from _section(selection, scores, tested[tested.test_name == name], place)


def _section(
    selection: Selection, scores: pd.DataFrame, trials: pd.DataFrame, place: int
) -> Iterator[Any]:
    measured = set(zip(scores.run, scores.trial, strict=True))
    among = [pair in measured for pair in zip(trials.run, trials.trial, strict=True)]
    best = views.bests(trials, pd.Series(among, trials.index, dtype=bool))
    networks = views.accuracy_of(scores, best)
    if networks.empty:
        yield Hint("None of these runs' best trials was measured on the test images.")
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
    marked = sorted(set(trials.threshold))
    yield Figure(
        "Accuracy by threshold",
        note,
        numbered("thresholds", place),
        partial(
            charts.thresholds, networks, views.accuracies(baselines), marked, names=selection.series
        ),
    )
    yield from _images(selection, best, place)
    finalists = scores.run.isin(trials.run) & (scores.kind == "trial") & scores.repeat_of.isna()
    yield _table(selection, pd.concat([scores[finalists], baselines]), trials, place)


def _images(selection: Selection, best: pd.DataFrame, place: int) -> Iterator[Any]:
    samples, address = selection.table("samples"), selection.address
    kept = best[best.run.isin(samples.run)]
    if kept.empty:
        yield Hint("These runs kept no images.")
        return
    orders, order = Choices.of(address, "Images", numbered("images", place), ORDERS)
    series = {name: name for name in kept.series}
    which, of = Choices.of(address, "of", numbered("of", place), series)
    named = numbered("difference", place)
    shown, difference = Choices.of(
        address, "Difference", named, {"no": "not shown", "yes": "shown"}
    )
    yield orders
    if len(series) > 1 and order != "spread":
        yield which
    yield shown
    cells, rows = views.image_grid(samples, kept, order, of, SHOWN, difference == "yes")
    note = (
        "Input, what the pipeline makes of it, and each network's best trial with its cosine "
        "similarity."
    )
    if difference == "yes":
        note += " Difference: red where it is too bright, blue where too dark."
    name = numbered("test-images", place)
    yield Pictures.of("Images", note, name, cells, rows, partial(charts.images, cells, rows))


def _table(selection: Selection, scores: pd.DataFrame, trials: pd.DataFrame, place: int) -> Table:
    thresholds = set(trials.threshold)
    threshold = thresholds.pop() if len(thresholds) == 1 else THRESHOLD  # which every run has
    subject = ["run", "subject"]
    means = scores[scores.threshold.isna()].pivot(index=subject, columns="metric", values="value")
    at = scores_at(scores, "cosine", threshold)
    intervals = zip(at.value, at.low, at.high, strict=True)
    rows = at.assign(share=[percent_with_interval(*one) for one in intervals])
    rows = rows.drop(columns=["metric", "value"]).merge(means.reset_index(), on=subject, how="left")
    rows = rows.merge(trials[["run", "trial", "series"]], on=["run", "trial"], how="left")
    own = [number(name, name, ".4g") for name in means.columns if name not in MEANS]
    return Table(
        f"At cosine ≥ {threshold:g}",
        "Finalists, floors and ceiling; trainings: itself and its repeats with other seeds; in "
        "brackets the 95 % interval that the choice of the images leaves (Wilson).",
        numbered("accuracy", place),
        rows.sort_values("mean", ascending=False),
        [
            *SUBJECT,
            Column("share", f"≥ {threshold:g} [95 %]", is_number=True),
            number("mean", "Mean of trainings", percent, bar=True),
            number("sd", "± deviation", percent),
            number("trainings", "Trainings", "d"),
            number("images", "Images", ",d"),
            *(one for name, one in MEANS.items() if name in means.columns),
            *own,
            number("parameters", "Parameters", ",.0f"),
        ],
        selection.address,
    )
