"""How much of the loss each hyperparameter explains: functional ANOVA over a series' trials."""

from typing import Any

import numpy as np
import pandas as pd

from analysis.tables.ranking import ranked_frame
from trainables.hyperparameters import HYPERPARAMETERS

FEWEST_TRIALS = 20
MOST_TRIALS = 250
TREES = (
    16  # Optuna has 64; the time grows with the square of the trials: 0.3 s for 100, 2 s for 400
)


def importances(trials: pd.DataFrame) -> pd.DataFrame:
    """Return how much of the variance of the loss each hyperparameter of a series explains.

    fANOVA (Hutter, Hoos, Leyton-Brown 2014) on the logarithm of each trial's lowest loss. Series
    with fewer than FEWEST_TRIALS are left out; of more than MOST_TRIALS a fixed random choice is
    taken.

    Args:
        trials: As `labelled` returns them.

    Returns:
        One row per series and hyperparameter: `series`, `parameter`, `importance` (a fraction of
        the variance) and `trials`, how many were looked at.
    """
    rows = []
    for series, group in ranked_frame(trials).groupby("series"):
        usable = group[group.best_validation_loss > 0]
        if len(usable) >= FEWEST_TRIALS:
            chosen = usable.sample(min(len(usable), MOST_TRIALS), random_state=0)
            rows += [(series, *found, len(chosen)) for found in _fractions(chosen).items()]
    return pd.DataFrame(rows, columns=["series", "parameter", "importance", "trials"])


def _fractions(trials: pd.DataFrame) -> dict[str, float]:
    import optuna  # here, with what it imports: 0.5 s that a page without such a chart is spared
    from optuna.importance import FanovaImportanceEvaluator

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    space = {
        name: _distribution(name, trials[name])
        for name in HYPERPARAMETERS
        if trials[name].notna().all() and trials[name].nunique() > 1
    }
    losses = np.log(trials.best_validation_loss)
    if not space or losses.nunique() < 2:
        return {}
    study = optuna.create_study()
    for loss, values in zip(losses, trials[[*space]].itertuples(index=False), strict=True):
        study.add_trial(
            optuna.create_trial(
                params=dict(zip(space, values, strict=True)), distributions=space, value=loss
            )
        )
    # Not get_param_importances, which scales the fractions to a sum of 1
    return FanovaImportanceEvaluator(n_trees=TREES, seed=0).evaluate(study)


def _distribution(name: str, values: pd.Series) -> Any:
    from optuna.distributions import FloatDistribution, IntDistribution

    if HYPERPARAMETERS[name].kind is int:
        return IntDistribution(int(values.min()), int(values.max()))
    return FloatDistribution(
        float(values.min()), float(values.max()), log=HYPERPARAMETERS[name].log
    )
