"""The page Compare: trials that were ticked, side by side."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import pandas as pd

from analysis.charts import quality as image_charts
from analysis.charts import trials as charts
from analysis.charts import views
from analysis.dashboard.blocks import Column, Figure, Hint, Page, Pictures, Table
from analysis.dashboard.selection import Selection
from analysis.dashboard.trial_columns import columns

IMAGES = 8


def page(selection: Selection) -> Page:
    """Return the page of the trials that the address names as RUN/TRIAL."""
    above = [("Trials", selection.address.to("trials", {"run": selection.names}))]
    return Page("Compare", list(_blocks(selection)), above)


def asked(names: list[str]) -> list[tuple[str, str]]:
    """Return runs and numbers of trials that an address names."""
    return [(run, trial) for run, _, trial in (name.rpartition("/") for name in names)]


def _blocks(selection: Selection) -> Iterator[Any]:
    wanted = asked(selection.address.every("trial"))
    every = selection.all_trials
    names = every.run + "/" + every.trial.astype(str)
    chosen = every[names.isin([f"{run}/{trial}" for run, trial in wanted])]
    missing = len(wanted) - len(chosen)
    if missing:
        yield Hint(f"{missing} of the {len(wanted)} trials that were asked for are not there.")
    if chosen.empty:
        yield Hint("Tick trials in the table of the page Trials, and compare them from there.")
        return
    # Each trial is a series of its own here, so that it has its own colour
    trial = "trial " + chosen.trial.astype(str)
    if chosen.run.nunique() > 1:
        trial += " of " + chosen.run
    chosen = chosen.assign(network=chosen.series, series=chosen.series + ", " + trial)
    yield _side_by_side(selection, chosen)
    epochs = selection.store.frame("epochs", chosen.run.unique())
    epochs = epochs.merge(chosen[["run", "trial", "series"]], on=["run", "trial"])
    if not epochs.empty:
        yield Figure(
            "Learning curves",
            "Validation loss by epoch; training loss dashed.",
            "compared-curves",
            partial(charts.curves, epochs, chosen),
        )
    samples = selection.table("samples")
    kept = chosen[[(one.run, one.trial) in _measured(samples) for one in chosen.itertuples()]]
    if kept.empty:
        yield Hint("Images are kept of a search's finalists only, and none of these is one.")
        return
    cells, rows = views.image_grid(
        samples, kept, "spread", kept.series.iloc[0], IMAGES, difference=True
    )
    yield Pictures.of(
        "Images",
        "Input, what the pipeline makes of it, and each network; red: too bright, blue: too dark.",
        "compared-images",
        cells,
        rows,
        partial(image_charts.images, cells, rows),
    )


def _measured(samples: pd.DataFrame) -> set[tuple[str, int]]:
    return set(zip(samples.run, samples.trial, strict=True))


def _side_by_side(selection: Selection, chosen: pd.DataFrame) -> Table:
    """Return one row for what differs or is measured, and one column for each trial."""
    said = columns(chosen.assign(series=chosen.network), selection.space, selection.address)
    rows = []
    for column in said:
        if column.key == "trial" or column.key not in chosen:
            continue
        values = chosen["network" if column.key == "series" else column.key]
        texts = ["–" if pd.isna(value) else column.say(value) for value in values]
        rows.append({"": column.head, **dict(zip(chosen.series, texts, strict=True))})
    heads = [Column("", ""), *(Column(name, name, is_number=True) for name in chosen.series)]
    return Table(
        "Side by side",
        "Loss, cosine and accuracy are those of the validation images at each trial's best epoch.",
        "compared",
        pd.DataFrame(rows),
        heads,
        selection.address,
    )
