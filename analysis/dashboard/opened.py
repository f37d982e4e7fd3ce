"""One trial, opened: hyperparameters, curves, images, what went wrong, and how to load its network."""

from pathlib import Path

import pandas as pd
import streamlit as st

from analysis import views
from analysis.charts import quality
from analysis.charts import trials as charts
from analysis.console import percent
from analysis.dashboard.parts import card, hint, key_figures, remark
from analysis.dashboard.selection import Selection

IMAGES = 8


def show_trial(selection: Selection, trial: pd.Series) -> None:
    """Draw everything that is known of a trial."""
    with st.container(border=True):
        st.subheader(f"Trial {trial.trial} of {trial.run}", anchor=False)
        st.text(f"{trial.series}, {trial.ending} after {trial.epochs} epochs, on {trial.device or 'no device yet'}")
        key_figures(_hyperparameters(trial))
        if trial.error is not None and not pd.isna(trial.error):
            st.error("It failed:", icon=":material/error:")
            st.code(str(trial.error), language=None, wrap_lines=True)
        _curve(selection, trial)
        _images(selection, trial)
        _loading(selection, trial)


def _hyperparameters(trial: pd.Series) -> list[tuple[str, str, str]]:
    known = pd.notna(trial.best_epoch)
    found = [("Learning rate", f"{trial.learning_rate:.3g}", "")]
    if pd.notna(trial.dropout):
        found.append(("Dropout", f"{trial.dropout:.3f}", ""))
    found.append(("Patience", f"{trial.patience} epochs", f"seed {trial.seed}"))
    if known:
        found.append(("Best loss", f"{trial.best_validation_loss:.3g}", f"epoch {trial.best_epoch:.0f}"))
        found.append(("Cosine ≥ 0.95", percent(trial.best_validation_accuracy), "validation"))
    return found


def _curve(selection: Selection, trial: pd.Series) -> None:
    epochs = selection.store.frame("epochs", [trial.run])
    mine = epochs[epochs.trial == trial.trial]
    if mine.empty:
        hint("No epoch of it has ended yet.")
    else:
        card("Loss by epoch", "Dashed rule: the epoch whose weights are kept.", charts.training(mine, trial.best_epoch),
             "training")  # fmt: skip


def _images(selection: Selection, trial: pd.Series) -> None:
    samples = selection.store.frame("samples", [trial.run])
    mine = samples[samples.trial == trial.trial]
    if mine.empty:
        hint("Images are kept of a search's finalists only, when it ends.")
        return
    one = pd.DataFrame([trial[["run", "trial", "series"]]])
    cells, rows = views.image_grid(mine, one, "worst", trial.series, IMAGES, difference=True)
    card("Its worst images", "Input, pipeline, output; red: too bright, blue: too dark.", quality.images(cells, rows),
         "trial images", width="content")  # fmt: skip


def _loading(selection: Selection, trial: pd.Series) -> None:
    weights = selection.store.networks / f"run={trial.run}" / f"trial-{trial.trial:04}.safetensors"
    st.markdown("**Load its network**")
    if weights.exists():
        st.code(
            f"from trainables.weights import load_network\n\n"
            f'network = load_network("{weights}")\n'
            f"outputs = network(images.float() / 255)  # (N, 3, 32, 32) uint8 → (N, 1, 28, 28)",
            language=None,  # the theme colours code too faintly to read
            wrap_lines=True,
        )
    elif trial.checkpoint and not pd.isna(trial.checkpoint):
        st.code(
            f"import torch\nfrom trainables.registry import build\n\n"
            f'state = torch.load("{Path(trial.checkpoint) / "state.pt"}", weights_only=True)\n'
            f'network = build("{trial.model}", dropout={0.0 if pd.isna(trial.dropout) else trial.dropout!r})\n'
            f'network.load_state_dict(state["best_weights"] or state["weights"])',
            language=None,  # the theme colours code too faintly to read
            wrap_lines=True,
        )
        remark("Only finalists have a weights file; this is the trial's last checkpoint.")
    else:
        remark("It has no checkpoint yet.")
