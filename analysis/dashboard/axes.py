"""How a reader may draw charts of trials: what is measured, on which axes, how smoothly."""

import pandas as pd

from analysis.charts.measures import MEASURES
from analysis.dashboard.address import Address
from analysis.dashboard.blocks import Choices

SMOOTHING = {"0": "none", "0.5": "some", "0.8": "much"}
OVER = {"epoch": "epochs", "time": "time"}


def measure_choices(address: Address, trials: pd.DataFrame) -> tuple[Choices, str]:
    """Return the choice of what is measured, and the key of MEASURES that is chosen."""
    known = {
        key: measure.title(trials)
        for key, measure in MEASURES.items()
        if trials[measure.of_trial].notna().any() or key == "loss"
    }
    return Choices.of(address, "Measure", "measure", known)


def scale_choices(address: Address, measure: str) -> tuple[Choices, str]:
    """Return the choice of the scale of a measure, its own first."""
    own = MEASURES[measure].scale
    other = "linear" if own == "log" else "log"
    names = {"log": "logarithmic", "linear": "linear"}
    return Choices.of(address, "Axis", "scale", {one: names[one] for one in (own, other)})
