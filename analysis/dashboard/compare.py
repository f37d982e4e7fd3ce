"""The page Compare: trials that were ticked, side by side."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import pandas as pd

from analysis.charts import quality as image_charts
from analysis.charts import trials as charts
from analysis.charts import views
from analysis.charts.measures import panels
from analysis.dashboard.address import Address
from analysis.dashboard.blocks import Column, Figure, Hint, Page, Pictures, Table, numbered
from analysis.dashboard.selection import Selection
from analysis.dashboard.trial_columns import columns

IMAGES = 8


def page(selection: Selection) -> Page:
    """Return the page of the trials that the address names as RUN/TRIAL."""
    above = [("Trials", selection.address.to("trials", {"run": selection.names}))]
    return Page("Compare", list(_blocks(selection)), above)


def runs_of(address: Address) -> list[str]:
    """Return the runs of the trials that an address names."""
    runs = (name.rpartition("/")[0] for name in address.every("trial"))
    return list(dict.fromkeys(run for run in runs if run))


def _blocks(selection: Selection) -> Iterator[Any]:
    wanted, every = selection.address.every("trial"), selection.all_trials
    chosen = every[(every.run + "/" + every.trial.astype(str)).isin(wanted)]
    if missing := len(wanted) - len(chosen):
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
    for place, (panel, of_panel) in enumerate(panels(chosen).items()):
        curves = epochs[epochs.series.isin(of_panel.series)]
        if not curves.empty:
            yield Figure(
                f"Learning curves: {panel}" if panel else "Learning curves",
                "Validation loss by epoch; training loss dashed.",
                numbered("compared-curves", place),
                partial(charts.curves, curves, of_panel, names=chosen.series),
            )
    samples = selection.table("samples")
    measured = set(zip(samples.run, samples.trial, strict=True))
    kept = chosen[[(one.run, one.trial) in measured for one in chosen.itertuples()]]
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
