"""How much each hyperparameter explains of the loss: functional ANOVA over the trials of a series."""

import math

import pandas as pd

from analysis.tables.ranking import ranked_frame

FEWEST_TRIALS = 20
MOST_TRIALS = 250
TREES = (
    16  # Optuna has 64; the time grows with the square of the trials: 0.3 s for 100, 2 s for 400
)
PARAMETERS = ("learning_rate", "dropout", "patience")


def importances(trials: pd.DataFrame) -> pd.DataFrame:
    """One row per series and hyperparameter: `series`, `parameter`, `importance` (share of the variance) and `trials`.

    fANOVA (Hutter, Hoos, Leyton-Brown 2014) on the logarithm of each trial's lowest loss. Series with fewer than
    FEWEST_TRIALS are left out; of more than MOST_TRIALS a fixed random choice is taken.
    """
    rows = []
    for series, group in ranked_frame(trials).groupby("series"):
        usable = group[group.best_validation_loss > 0]
        if len(usable) >= FEWEST_TRIALS:
            chosen = usable.sample(min(len(usable), MOST_TRIALS), random_state=0)
            shares = _shares(chosen)
            rows += [
                {"series": series, "parameter": p, "importance": s, "trials": len(chosen)}
                for p, s in shares.items()
            ]
    return pd.DataFrame(rows, columns=["series", "parameter", "importance", "trials"])


def _shares(trials: pd.DataFrame) -> dict[str, float]:
    import optuna
    from optuna.importance import FanovaImportanceEvaluator

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    searched = [
        name for name in PARAMETERS if trials[name].notna().all() and trials[name].nunique() > 1
    ]
    if not searched or trials.best_validation_loss.nunique() < 2:
        return {}
    space = {name: _distribution(name, trials[name]) for name in searched}
    study = optuna.create_study()
    study.add_trials(
        [
            optuna.create_trial(
                params={name: row[name] for name in searched},
                distributions=space,
                value=math.log(row["best_validation_loss"]),
            )
            for row in trials.astype({"patience": int}).to_dict("records")
        ]
    )
    evaluator = FanovaImportanceEvaluator(n_trees=TREES, seed=0)
    return evaluator.evaluate(
        study
    )  # not get_param_importances, which scales the shares to a sum of 1


def _distribution(name: str, values: pd.Series):  # type: ignore[no-untyped-def]  # optuna is imported when needed
    from optuna.distributions import FloatDistribution, IntDistribution

    low, high = values.min(), values.max()
    if name == "patience":
        return IntDistribution(int(low), int(high))
    return FloatDistribution(float(low), float(high), log=name == "learning_rate")
