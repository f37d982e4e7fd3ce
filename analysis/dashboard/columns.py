"""The trials table on a page: which columns, and how they read."""

import streamlit as st

from trainables.hyperparameters import HYPERPARAMETERS
from trainables.thresholds import THRESHOLD

NUMBER = st.column_config.NumberColumn
COLUMNS = {
    "run": "Run",
    "trial": "Trial",
    "series": "Network",
    "ending": "Ended by",
    "best_validation_loss": NUMBER("Best loss", format="%.3g"),
    "best_validation_accuracy": st.column_config.ProgressColumn(
        f"Cosine ≥ {THRESHOLD}",
        format="percent",
        min_value=0,
        max_value=1,
        help="on the validation images, at the best epoch",
    ),
    "best_validation_cosine": NUMBER(
        "Mean cosine", format="%.4f", help="of the same images at the same epoch"
    ),
    "best_epoch": "Best epoch",
    **{
        name: NUMBER(parameter.label, format=f"%{parameter.style or 'd'}")
        for name, parameter in HYPERPARAMETERS.items()
    },
    "epochs": "Epochs",
    "train_sec": NUMBER("Training, s", format="%.1f"),
    "images_per_sec": NUMBER("Images/s", format="%.0f"),
    "peak_mib": NUMBER("Peak MiB", format="%.0f"),
    "started_at": st.column_config.DatetimeColumn("Started", format="MMM D, HH:mm"),
}
