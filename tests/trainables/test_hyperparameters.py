import math

import pytest

from trainables.hyperparameters import HYPERPARAMETERS


@pytest.mark.parametrize(
    ("name", "value", "limit"),
    [
        ("learning_rate", 1e-3, ""),
        ("learning_rate", 0.0, "> 0"),
        ("learning_rate", math.inf, "≤ 1e+30"),
        ("learning_rate", math.nan, "> 0"),
        ("dropout", 0.0, ""),
        ("dropout", 0.999, ""),
        ("dropout", 1.0, "< 1"),
        ("dropout", -0.1, "≥ 0"),
        ("patience", 1, ""),
        ("patience", 0, "≥ 1"),
        ("patience", 1_000_001, "≤ 1e+06"),
    ],
)
def test_a_value_that_makes_no_sense_breaks_a_limit(name: str, value: float, limit: str) -> None:
    assert HYPERPARAMETERS[name].broken_limit(value) == limit


def test_each_is_printed_in_its_own_style() -> None:
    values = {"learning_rate": 1.884e-3, "dropout": 0.25, "patience": 7}
    texts = [HYPERPARAMETERS[name].text(value) for name, value in values.items()]
    assert texts == ["1.88e-03", "0.250", "7"]
