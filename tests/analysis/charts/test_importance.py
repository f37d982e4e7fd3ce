"""How much each hyperparameter explains of the loss."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from analysis.charts import views
from tests.analysis.made_runs import SPACE, searched

DECIDES = {
    "learning_rate": lambda trials: 1 + (np.log10(trials.learning_rate) + 3) ** 2,
    "dropout": lambda trials: 1 + 10 * trials.dropout,
    "patience": lambda trials: 1.0 * trials.patience,
}


def importances(trials: pd.DataFrame) -> pd.DataFrame:
    return views.importances(trials, SPACE)


def trials(count: int = 40, **columns: Any) -> pd.DataFrame:
    """Trials whose loss is chance, unless a column says otherwise."""
    return searched(np.random.default_rng(1).uniform(0.1, 0.2, count).tolist(), **columns)


def shares(trials: pd.DataFrame, method: str = views.FANOVA) -> dict[str, float]:
    found = importances(trials)
    found = found[found.method == method]
    return dict(zip(found.parameter, found.importance, strict=True))


@pytest.mark.parametrize("parameter", DECIDES)
def test_the_hyperparameter_that_decides_the_loss_has_the_largest_share(parameter: str) -> None:
    made = trials()
    made = made.assign(best_validation_loss=DECIDES[parameter](made))
    found = shares(made)
    assert set(found) == set(DECIDES)
    assert found[parameter] > 0.8
    assert 0.8 < sum(found.values()) < 1 - 1e-6, "the rest is explained by several together"
    by_best = shares(made, views.PED_ANOVA)
    assert max(by_best, key=by_best.__getitem__) == parameter
    assert sum(by_best.values()) == pytest.approx(1)


def test_every_series_has_shares_of_its_own() -> None:
    fc, cnn = trials(), searched([0.1] * 40, "cnn-1", "cnn")
    both = [
        fc.assign(best_validation_loss=DECIDES["dropout"](fc)),
        cnn.assign(best_validation_loss=cnn.patience / 1.0),
    ]
    found = importances(pd.concat(both, ignore_index=True))
    found = found.set_index(["method", "series", "parameter"]).importance.sort_index()
    for method in (views.FANOVA, views.PED_ANOVA):
        assert found[method, "fc"].idxmax() == "dropout"
        assert found[method, "cnn"].idxmax() == "patience"


def test_below_20_usable_trials_there_is_no_row() -> None:
    assert importances(trials(19)).empty
    assert set(importances(trials(20)).trials) == {20}


@pytest.mark.parametrize(
    "columns",
    [
        {"stop_reason": "diverged"},
        {"repeat_of": 0.0},
        {"best_validation_loss": np.nan},
        {"best_validation_loss": 0.0},
    ],
    ids=["diverged", "repeat", "no epoch", "loss of 0"],
)
def test_trials_without_a_sound_loss_do_not_count(columns: dict[str, Any]) -> None:
    made = trials(20)
    unsound = made.head(1).assign(**columns)
    assert importances(pd.concat([unsound, made.tail(19)], ignore_index=True)).empty
    pd.testing.assert_frame_equal(
        importances(pd.concat([made, unsound], ignore_index=True)), importances(made)
    )


def test_the_only_searched_hyperparameter_explains_everything() -> None:
    assert shares(trials(dropout=0.1, patience=5)) == {"learning_rate": 1.0}


def test_without_a_searched_hyperparameter_there_is_no_row() -> None:
    assert importances(trials(learning_rate=1e-3, dropout=0.1, patience=5)).empty


def test_a_network_without_dropout_has_no_share_of_it() -> None:
    made = trials()
    for dropout in (None, made.dropout.where(made.trial > 0)):
        assert set(shares(made.assign(dropout=dropout).astype({"dropout": float}))) == {
            "learning_rate",
            "patience",
        }


def test_identical_losses_have_nothing_to_explain() -> None:
    assert shares(trials().assign(best_validation_loss=0.1)) == {}


def test_each_forest_sees_at_most_100_trials_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    study = views._study

    def noted(trials: pd.DataFrame, space: Any) -> Any:
        seen.append(sorted(trials.trial))
        return study(trials, space)

    monkeypatch.setattr(views, "_study", noted)
    assert set(importances(trials(110, dropout=0.1, patience=5)).trials) == {110}
    *forests, all_trials = seen
    assert [len(one) for one in forests] == [100] * views.FORESTS
    assert len({tuple(one) for one in forests}) == views.FORESTS
    assert len(all_trials) == 110


def test_what_several_forests_say_has_a_spread_and_what_draws_nothing_has_none() -> None:
    found = importances(trials())
    forests = found[found.method == views.FANOVA]
    assert (forests.low < forests.importance).all()
    assert (forests.importance < forests.high).all()
    others = found[found.method == views.PED_ANOVA]
    assert (others.low == others.importance).all()
    assert (others.high == others.importance).all()


def test_the_same_trials_have_the_same_shares_in_whichever_order_they_come() -> None:
    made = trials()
    pd.testing.assert_frame_equal(importances(made), importances(made))
    pd.testing.assert_frame_equal(
        importances(made), importances(made.sample(frac=1, random_state=0))
    )
