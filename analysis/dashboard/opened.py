"""One trial, opened: hyperparameters, curves, images, its error, how to load its network."""

from pathlib import Path

import pandas as pd
import streamlit as st

from analysis.charts import quality, views
from analysis.charts import trials as charts
from analysis.console import percent
from analysis.dashboard.parts import card, hint, key_figures, picture, plain, remark
from analysis.dashboard.selection import Selection
from trainables.hyperparameters import HYPERPARAMETERS
from trainables.thresholds import THRESHOLD

IMAGES = 8


def show_trial(selection: Selection, trial: pd.Series) -> None:
    """Draw everything that is known of a trial."""
    with st.container(border=True):
        st.subheader(plain(f"Trial {trial.trial} of {trial.run}"), anchor=False)
        device = trial.device if isinstance(trial.device, str) else "no device yet"
        st.text(f"{trial.series}, {trial.ending} after {trial.epochs} epochs, on {device}")
        key_figures(_hyperparameters(trial))
        if trial.error is not None and not pd.isna(trial.error):
            st.error("It failed:", icon=":material/error:")
            st.code(str(trial.error), language=None, wrap_lines=True)
        _curve(selection, trial)
        _images(selection, trial)
        _loading(selection, trial)


def _hyperparameters(trial: pd.Series) -> list[tuple[str, str, str]]:
    found = [
        (parameter.label, parameter.text(trial[name]), parameter.unit)
        for name, parameter in HYPERPARAMETERS.items()
        if pd.notna(trial[name])
    ]
    found.append(("Seed", f"{trial.seed}", ""))
    if pd.notna(trial.best_epoch):
        accuracy = percent(trial.best_validation_accuracy)
        found += [
            ("Best loss", f"{trial.best_validation_loss:.3g}", f"epoch {trial.best_epoch:.0f}"),
            (f"Cosine ≥ {THRESHOLD}", accuracy, "validation"),
        ]
    return found


def _curve(selection: Selection, trial: pd.Series) -> None:
    epochs = selection.store.frame("epochs", [trial.run])
    mine = epochs[epochs.trial == trial.trial]
    if mine.empty:
        hint("No epoch of it has ended yet.")
    else:
        note = "Dashed rule: the epoch whose weights are kept."
        card("Loss by epoch", note, "training", charts.training, mine, trial.best_epoch)


def _images(selection: Selection, trial: pd.Series) -> None:
    samples = selection.store.frame("samples", [trial.run])
    mine = samples[samples.trial == trial.trial]
    if mine.empty:
        hint("Images are kept of a search's finalists only, when it ends.")
        return
    kept = "" if mine["rank"].notna().any() else f" of the {mine.image.nunique()} that were kept"
    one = pd.DataFrame([trial[["run", "trial", "series"]]])
    cells, rows = views.image_grid(mine, one, "worst", trial.series, IMAGES, difference=True)
    note = f"Worst first{kept}: input, pipeline, output; red: too bright, blue: too dark."
    picture("Its worst images", note, "trial images", quality.images, cells, rows)


def _loading(selection: Selection, trial: pd.Series) -> None:
    weights = selection.store.networks / f"run={trial.run}" / f"trial-{trial.trial:04}.safetensors"
    st.markdown("**Load its network**")
    if weights.exists():
        _code(_load_weights(trial.model, str(weights)))
    elif isinstance(trial.checkpoint, str):
        _code(_load_checkpoint(trial, str(Path(trial.checkpoint) / "state.pt")))
        remark("Only finalists have a weights file; this is the trial's last checkpoint.")
    else:
        remark("It has no checkpoint yet.")


def _load_weights(model: str, weights: str) -> str:
    module, colon, name = model.rpartition(":")
    own = f"from {module} import {name}\n" if colon else ""  # a file must not choose what code runs
    return (
        f"{own}from trainables.networks.weights import load_network\n\n"
        f"network = load_network({weights!r}{f', {name}' if colon else ''})\n"
        f"outputs = network(images.float() / 255)  # (N, 3, 32, 32) uint8 → (N, 1, 28, 28)"
    )


def _load_checkpoint(trial: pd.Series, state: str) -> str:
    dropout = 0.0 if pd.isna(trial.dropout) else float(trial.dropout)
    return (
        f"import torch\nfrom trainables.networks.registry import build\n\n"
        f"state = torch.load({state!r}, weights_only=True)\n"
        f"network = build({trial.model!r}, dropout={dropout!r})\n"
        f'network.load_state_dict(state["best_weights"] or state["weights"])'
    )


def _code(lines: str) -> None:
    st.code(lines, language=None, wrap_lines=True)  # the theme colours code too faintly to read
