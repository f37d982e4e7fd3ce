"""The page of one trial: everything that is known of it."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import pandas as pd

from analysis.charts import quality, views
from analysis.charts import trials as charts
from analysis.dashboard.blocks import (
    Code,
    Figure,
    Hint,
    KeyFigure,
    KeyFigures,
    Page,
    Pictures,
    Remark,
)
from analysis.dashboard.selection import Selection
from analysis.dashboard.trial_columns import score_figure
from analysis.load_lines import loading
from analysis.wording import count
from trainables.hyperparameters import KNOWN, label, text
from trainables.thresholds import percent

IMAGES = 8


def page(selection: Selection, trial: pd.Series) -> Page:
    """Return the page of a trial of `selection`, whose only run is its."""
    address = selection.address
    above = [
        (f"Run {trial.run}", address.to_run(trial.run)),
        ("Its trials", address.to("trials", {"run": trial.run})),
    ]
    return Page(f"Trial {trial.trial} of {trial.run}", list(_blocks(selection, trial)), above)


def _blocks(selection: Selection, trial: pd.Series) -> Iterator[Any]:
    device = trial.device if isinstance(trial.device, str) else "no device yet"
    epochs = f"{count(trial.epochs, 'epoch')} ({trial.ending})"
    yield Remark(f"{trial.series}, {epochs}, on {device}, seed {trial.seed}.")
    yield KeyFigures(_hyperparameters(selection, trial))
    if trial.error is not None and not pd.isna(trial.error):
        yield Code("It failed", str(trial.error), is_failure=True)
    yield _loss(selection, trial)
    yield _images(selection, trial)
    yield from _loading(selection, trial)


def _hyperparameters(selection: Selection, trial: pd.Series) -> list[KeyFigure]:
    found = [
        KeyFigure(label(name), text(name, trial[name]), KNOWN[name].unit if name in KNOWN else "")
        for name in selection.space
        if pd.notna(trial[name])
    ]
    if pd.notna(trial.best_epoch):
        epoch = f"epoch {trial.best_epoch:.0f}"
        found += [
            KeyFigure("Loss", f"{trial.best_validation_loss:.3g}", epoch),
            *score_figure(trial, "validation"),
            KeyFigure(
                f"Cosine ≥ {trial.threshold:g}",
                percent(trial.best_validation_accuracy),
                f"of {selection.runs.validation_images.iloc[0]:,} validation images",
            ),
        ]
    return found


def _loss(selection: Selection, trial: pd.Series) -> Figure | Hint:
    epochs = selection.store.frame("epochs", [trial.run])
    mine = epochs[epochs.trial == trial.trial]
    if mine.empty:
        return Hint("No epoch of it has ended yet.")
    return Figure(
        "Loss by epoch",
        "Dashed rule: the epoch whose weights are kept.",
        "training",
        partial(charts.training, mine, trial.best_epoch),
    )


def _images(selection: Selection, trial: pd.Series) -> Pictures | Hint:
    samples = selection.store.frame("samples", [trial.run])
    mine = samples[samples.trial == trial.trial]
    if mine.empty:
        return Hint("Images are kept of a search's finalists only, when it ends.")
    kept = "" if mine["rank"].notna().any() else f" of the {mine.image.nunique()} that were kept"
    cells, rows = views.image_grid(
        mine,
        pd.DataFrame([trial[["run", "trial", "series"]]]),
        "worst",
        trial.series,
        IMAGES,
        difference=True,
    )
    return Pictures.of(
        "Its worst images",
        f"Worst first{kept}: input, pipeline, output; red: too bright, blue: too dark.",
        "trial-images",
        cells,
        rows,
        partial(quality.images, cells, rows),
    )


def _loading(selection: Selection, trial: pd.Series) -> Iterator[Code | Remark]:
    runs = selection.runs
    lines, note = loading(selection.store.networks, runs[runs.run == trial.run].iloc[0], trial)
    if lines:
        yield Code("Load its network", lines)
    if note:
        yield Remark(note)
