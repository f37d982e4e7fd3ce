"""The page of one trial: everything that is known of it."""

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
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
from analysis.tables.parameters import read_space
from analysis.tables.task_columns import task_of
from analysis.wording import count, named
from trainables.hyperparameters import KNOWN, chosen_of, label, text, values_of
from trainables.own_code import is_own
from trainables.tasks import STUDY, Task
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
    yield Remark(
        f"{trial.series}, {named(trial.ending)}, {count(trial.epochs, 'epoch')}, on {device}, "
        f"seed {trial.seed}."
    )
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
    weights = selection.store.networks / f"run={trial.run}" / f"trial-{trial.trial:04}.safetensors"
    runs = selection.runs
    task = task_of(runs[runs.run == trial.run].iloc[0])
    title = "Load its network"
    if weights.exists():
        yield Code(title, _load_weights(trial.model, str(weights), task))
    elif isinstance(trial.checkpoint, str):
        state = str(Path(trial.checkpoint) / "state.pt")
        yield Code(title, _load_checkpoint(trial, task, _chosen(selection, trial), state))
        yield Remark("Only finalists have a weights file; this is the trial's last checkpoint.")
    else:
        yield Remark("It has no checkpoint yet, from which its network could be loaded.")


def _load_weights(model: str, weights: str, task: Task) -> str:
    taken, made = (
        "(N, " + ", ".join(map(str, shape)) + ")" for shape in (task.input_shape, task.output_shape)
    )
    own, given = "", ""
    if is_own(model):  # a weights file must not choose what code runs
        own, given = "from trainables.networks.registry import find\n", f", find({model!r})"
    return (
        f"{own}from trainables.networks.weights import load_network\n\n"
        f"network = load_network({weights!r}{given})\n"
        f"outputs = network(images.float() / 255)  # {taken} uint8 → {made}"
    )


def _chosen(selection: Selection, trial: pd.Series) -> dict[str, Any]:
    """Return the arguments of a trial's network."""
    runs = selection.runs
    space = read_space(runs.space[runs.run == trial.run].iloc[0], trial.model)
    # In the column of several runs, one's whole numbers may have become another's fractions
    said = {
        name: parameter.kind(trial[name])
        for name, parameter in space.items()
        if parameter.kind is not None and name in trial and pd.notna(trial[name])
    }
    return chosen_of(values_of(space, said))


def _load_checkpoint(trial: pd.Series, task: Task, chosen: Mapping[str, Any], state: str) -> str:
    arguments = "".join(f", {name}={value!r}" for name, value in chosen.items())
    imported = ""
    if task != STUDY:
        arguments, imported = f", {task}{arguments}", "from trainables.tasks import Task\n"
    return (
        f"import torch\nfrom trainables.networks.registry import build\n{imported}\n"
        f"state = torch.load({state!r}, weights_only=True)\n"
        f"network = build({trial.model!r}{arguments})\n"
        f'network.load_state_dict(state["best_weights"] or state["weights"])'
    )
